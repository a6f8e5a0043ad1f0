package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
)

func user(n int, authority string, customer int) *proto.UserUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.UserUpdateMsg{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"email":"u@x","authority":"` + authority + `","customerId":` + ref("CUSTOMER", customer) + `}`,
	}
}

func userCreds(n int) *proto.UserCredentialsUpdateMsg {
	return &proto.UserCredentialsUpdateMsg{Entity: `{"userId":` + ref("USER", n) +
		`,"enabled":true,"password":"$2a$10$abc","activateToken":"secret-token","resetToken":"r"}`}
}

// Only tenant administrators and users of the edge's own customer are stored, and they go with that
// customer (CONTRACT.md 2.8, 6.3).
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	give := func(u ...*proto.UserUpdateMsg) {
		t.Helper()
		m := &proto.DownlinkMsg{UserUpdateMsg: u}
		for n := 20; n < 26; n++ {
			m.UserCredentialsUpdateMsg = append(m.UserCredentialsUpdateMsg, userCreds(n))
		}
		apply(t, r, m)
	}
	check := func(want string) {
		t.Helper()
		if got := r.Kinds(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	everybody := []*proto.UserUpdateMsg{
		user(20, "TENANT_ADMIN", 0), user(21, "CUSTOMER_USER", 7), user(22, "CUSTOMER_USER", 8), user(23, "SYS_ADMIN", 7), user(24, "", 7),
	}
	give(everybody...) // before we know who we are
	check("user 1, usercreds 1")
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	give(everybody...)
	check("user 2, usercreds 2")
	if got := r.Record("usercreds", id(21)); got != `{"enabled":true,"password":"$2a$10$abc"}` {
		t.Errorf("stored %s", got)
	}
	give(user(21, "CUSTOMER_USER", 8)) // moved to a foreign customer
	check("user 1, usercreds 1")
	give(user(21, "CUSTOMER_USER", 7))
	if err := r.SetEdge(edgeOf(8)); err != nil { // the edge goes to another customer
		t.Fatal(err)
	}
	check("user 1, usercreds 1")
	give(user(22, "CUSTOMER_USER", 8))
	check("user 2, usercreds 2")
	msb, lsb := proto.Halves(id(8))
	apply(t, r, &proto.DownlinkMsg{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	check("user 1, usercreds 1")
	msb, lsb = proto.Halves(id(20))
	apply(t, r, &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	check("")
	stored, err := os.ReadFile(filepath.Join(dir, "registry", "store"))
	if err != nil || strings.Contains(string(stored), "secret-token") {
		t.Errorf("an activation token is stored, %v", err)
	}
}
