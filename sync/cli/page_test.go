package cli

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/sync/cloudtest"
)

// The page shows to a user of the cloud what devices send: over HTTPS where there is HTTPS, and to
// who asks under a name of the gateway only after a login. Streams end with the agent.
func TestPageLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	s.env = []string{"EDGESYNC_HTTP_TLS_LISTEN=127.0.0.1:0", "EDGESYNC_HTTP_TLS_CERT_FILE=" + cert, "EDGESYNC_HTTP_TLS_KEY_FILE=" + key}
	r := s.synced()
	tlsAddress := r.snapshot().HTTPTLSAddress
	_, tlsPort, _ := net.SplitHostPort(tlsAddress)
	if code, _ := post(r.http, "token-0", `{"ts":1000,"values":{"a":"secret recipe"}}`); code != http.StatusOK {
		t.Fatal(code)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ask := func(method, base, path, token, body string) (code int, text string) {
		t.Helper()
		q, err := http.NewRequest(method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Host = "gateway.example:8080"
		q.Header.Set("X-Edgesync", "1")
		if token != "" {
			q.Header.Set("X-Authorization", "Bearer "+token)
		}
		res, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	plain, secure := "http://"+r.http, "https://"+tlsAddress
	code, text := ask("POST", secure, "/api/auth/login", "",
		`{"username":"`+cloudtest.AdminName+`","password":"`+cloudtest.AdminPassword+`"}`)
	var login struct{ Token string }
	if err := json.Unmarshal([]byte(text), &login); err != nil || code != 200 {
		t.Fatal(code, err)
	}
	for _, c := range []struct {
		base, token, me string
		shown           bool
	}{
		{plain, "", `{"local":false,"sees":false,"admin":false,"login":"https","https":"` + tlsPort + `"}`, false},
		{plain, login.Token, `{"local":false,"sees":false,"admin":false,"login":"https","https":"` + tlsPort + `"}`, false},
		{secure, "", `{"local":false,"sees":false,"admin":false,"login":"open","https":"` + tlsPort + `"}`, false},
		{
			secure, login.Token,
			`{"user":"` + cloudtest.AdminName + `","local":false,"sees":true,"admin":true,"login":"open","https":"` + tlsPort + `"}`, true,
		},
	} {
		if _, text := ask("GET", c.base, "/api/edgesync/me", c.token, ""); text != c.me {
			t.Errorf("%+v: %s", c, text)
		}
		if _, text := ask("GET", c.base, "/api/edgesync/search", c.token, ""); strings.Contains(text, "secret recipe") != c.shown ||
			!strings.Contains(text, "TIMESERIES_UPDATED") {
			t.Errorf("%+v: %s", c, text)
		}
		code, text := ask("POST", c.base, "/api/edgesync/do", c.token, `{"do":"dead_retry","all":true}`)
		if c.shown && (code != 200 || text != `{"ok":true,"count":0}`) || !c.shown && code != 401 {
			t.Errorf("%+v: an order: %d %s", c, code, text)
		}
	}
	res, err := client.Get(secure + "/api/edgesync/live")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begin := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, begin); err != nil || string(begin) != "data: " {
		t.Fatalf("%q %v", begin, err)
	}
	if err := r.Stop(); err != nil { // a stream does not hold up the stop
		t.Error(err)
	}
	if strings.Contains(r.log.String(), login.Token) {
		t.Error("a token in the log")
	}
}
