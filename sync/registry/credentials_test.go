package registry_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	check := func(want string) {
		t.Helper()
		for range 2 {
			if got := state(r, "t1", "t2", "t3"); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
			r.Close()
			r = open(t, dir)
		}
	}
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"))) // before its device
	check("")
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	check("a/default//ACCESS_TOKEN b/default//NONE t1=a")
	apply(t, r, tokens(creds(2, "ACCESS_TOKEN", "t2")))
	check("a/default//ACCESS_TOKEN b/default//ACCESS_TOKEN t1=a t2=b")
	apply(t, r, tokens(creds(2, "ACCESS_TOKEN", "t1"))) // moves
	check("a/default//NONE b/default//ACCESS_TOKEN t1=b")
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t2")))
	check("a/default//ACCESS_TOKEN b/default//ACCESS_TOKEN t1=b t2=a")
	apply(t, r, tokens(creds(1, "X509_CERTIFICATE", "t2")))
	check("a/default//X509_CERTIFICATE b/default//ACCESS_TOKEN t1=b")
	apply(t, r, devices(device(2, "c"))) // a rename keeps the token
	check("a/default//X509_CERTIFICATE c/default//ACCESS_TOKEN t1=c")
	apply(t, r, devices(gone(2)))
	check("a/default//X509_CERTIFICATE")
	apply(t, r, devices(device(2, "c"))) // its old credentials are gone with it
	check("a/default//X509_CERTIFICATE c/default//NONE")
	if d, ok := r.ByID(id(1)); !ok || d.Name != "a" || !d.Gateway || d.CustomerID != proto.NullUUID {
		t.Errorf("%+v %v", d, ok)
	}
	if j, ok := r.Credentials(id(1)); !ok || string(j) != creds(1, "X509_CERTIFICATE", "t2").Entity {
		t.Errorf("credentials %s", j)
	}
}

// MQTT logins in all combinations (API.md 3.2).
func TestByMQTT(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	basic := func(n int, credentialsID, value string) *proto.DeviceCredentialsUpdateMsg {
		return &proto.DeviceCredentialsUpdateMsg{Entity: `{"deviceId":` + ref("DEVICE", n) +
			`,"credentialsType":"MQTT_BASIC","credentialsId":"` + credentialsID +
			`","credentialsValue":` + fmt.Sprintf("%q", value) + `}`}
	}
	apply(t, r, devices(device(1, "token"), device(2, "client"), device(3, "user"), device(4, "both"),
		device(5, "all"), device(6, "userpass"), device(7, "x509")))
	// sha3-256 of "c2", "c4|u4" and "c5|u5", made with another implementation.
	apply(t, r, tokens(
		creds(1, "ACCESS_TOKEN", "tok"), basic(2, "9fbfbb164c773d3a34e2b83088ac7dbb8e1aaee2bcda545b5921ed9274757ac5",
			`{"clientId":"c2"}`), basic(3, "u3", `{"userName":"u3"}`),
		basic(4, "4a350feb6fa79b0eac57e063e3885753ffaa23c9db0f33421c3e76430867ecb0", `{"clientId":"c4","userName":"u4"}`),
		basic(5, "cd98ce8ae3e0624097cc213beca88825dfef89bebb85673be8d8cf1c9dbf725e", `{"clientId":"c5","userName":"u5","password":"p5"}`),
		basic(6, "u6", `{"userName":"u6","password":"p6"}`),
		creds(7, "X509_CERTIFICATE", "4af11b2d8cb829de20255bc5375e8ab20cb77ef79fc83d301e5c1ab3dad477f8"),
	))
	for range 2 {
		for _, c := range []struct{ client, user, password, want string }{
			{"", "tok", "", "token"},
			{"any", "tok", "any", "token"},
			{"", "", "", ""},
			{"", "", "p", ""},
			{"nobody", "", "", ""},
			{"", "u3", "", "user"},
			{"any", "u3", "any", "user"},
			{"", "U3", "", ""},
			{"u3", "", "", ""},
			{"tok", "", "", ""},
			{strings.Repeat("x", 1000), "tok", "", ""},
			{"c2", "", "", "client"},
			{"c2", "", "any", "client"},
			{"c4", "u4", "", "both"},
			{"c4", "", "", ""},
			{"c4", "u5", "", ""},
			{"c5", "u5", "p5", "all"},
			{"c5", "u5", "p", ""},
			{"c5", "u5", "", ""},
			{"", "u5", "p5", ""},
			{"", "u6", "p6", "userpass"},
			{"z", "u6", "p6", "userpass"},
			{"z", "u6", "p", ""},
		} {
			d, ok := r.ByMQTT(c.client, c.user, []byte(c.password))
			if ok != (c.want != "") || ok && d.Name != c.want {
				t.Errorf("%.10q %q %q: %q %v, want %q", c.client, c.user, c.password, d.Name, ok, c.want)
			}
		}
		r.Close()
		r = open(t, dir)
	}
	if d, ok := r.ByCertificate([]byte{0, 1, 2}); !ok || d.Name != "x509" {
		t.Errorf("%+v %v", d, ok)
	}
	if _, ok := r.ByToken("u3"); ok {
		t.Error("an MQTT user name is no access token")
	}
}

// Devices made here get the ids of credentials that the server would compute (CONTRACT.md 5.5).
func TestPreparedCredentials(t *testing.T) {
	r := open(t, t.TempDir())
	der := []byte("not really a certificate")
	body := base64.StdEncoding.EncodeToString(der)
	for i, n := range []proto.NewDevice{
		{Name: "client", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c"}`},
		{Name: "user", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"userName":"u","password":"p"}`},
		{Name: "both", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c","userName":"v","password":"q"}`},
		{Name: "open", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c","userName":"w","password":""}`},
		{Name: "cert", CredentialsType: "X509_CERTIFICATE", CredentialsValue: body},
		{Name: "token", CredentialsType: "ACCESS_TOKEN", CredentialsID: "mine"},
		{Name: "made"},
	} {
		b, taken, err := r.Prepare(&n, time.Now())
		if err != nil || taken {
			t.Fatal(n.Name, taken, err)
		}
		if _, ok := r.ByName(n.Name); ok {
			t.Errorf("%s is found before it is announced", n.Name)
		}
		if err := r.Adopt(b.ID, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ client, user, password, want string }{
		{"c", "", "", "client"},
		{"c", "", "whatever", "client"},
		{"x", "", "", ""},
		{"", "u", "p", "user"},
		{"x", "u", "p", "user"},
		{"", "u", "wrong", ""},
		{"", "u", "", ""},
		{"", "u", "pp", ""},
		{"c", "v", "q", "both"},
		{"c", "v", "p", ""},
		{"x", "v", "q", ""},
		{"", "v", "q", ""},
		{"c", "w", "anything", "open"},
		{"c", "w", "", "open"},
		{"", "mine", "", "token"},
		{"c", "mine", "x", "token"},
	} {
		d, ok := r.ByMQTT(c.client, c.user, []byte(c.password))
		if ok != (c.want != "") || ok && d.Name != c.want {
			t.Errorf("%q %q %q: %q %v, want %q", c.client, c.user, c.password, d.Name, ok, c.want)
		}
	}
	if d, ok := r.ByCertificate(der); !ok || d.Name != "cert" {
		t.Errorf("%+v %v", d, ok)
	}
	for _, der := range [][]byte{nil, []byte("another"), make([]byte, 1<<20)} {
		if _, ok := r.ByCertificate(der); ok {
			t.Error("another certificate was taken")
		}
	}
	d, _ := r.ByName("made")
	text, _ := r.Credentials(d.ID)
	if !strings.Contains(string(text), `"credentialsType":"ACCESS_TOKEN"`) || len(text) < 100 {
		t.Errorf("generated %s", text)
	}
	for _, bad := range []proto.NewDevice{
		{},
		{Name: strings.Repeat("é", 256)},
		{Name: "a\xff"},
		{Name: "<b>"},
		{Name: "x", Type: "a\x00b"},
		{Name: "x", CredentialsType: "LWM2M"},
		{Name: "x", CredentialsType: "MQTT_BASIC", CredentialsValue: "{}"},
		{Name: "x", CredentialsType: "X509_CERTIFICATE", CredentialsValue: "-----BEGIN CERTIFICATE-----\n"},
		{Name: "x", CredentialsID: strings.Repeat("t", 1000)},
	} {
		if _, taken, err := r.Prepare(&bad, time.Now()); err == nil || taken {
			t.Errorf("%.20q was made", bad.Name)
		}
	}
	if b, taken, err := r.Prepare(&proto.NewDevice{Name: "token"}, time.Now()); !taken || err != nil || b.ID == (proto.UUID{}) {
		t.Errorf("the name is taken: %v %v", taken, err)
	}
	if b, taken, err := r.Prepare(&proto.NewDevice{Name: "other", CredentialsID: "mine"}, time.Now()); !taken ||
		err != nil || b.ID != (proto.UUID{}) {
		t.Errorf("the token is taken: %v %v", taken, err)
	}
	if _, ok := r.ByName(strings.Repeat("é", 255)); ok || r.Devices() != 7 {
		t.Errorf("%d devices", r.Devices())
	}
}
