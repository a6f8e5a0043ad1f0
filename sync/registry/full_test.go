package registry_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// small opens a registry with room for a MiB.
func small(t *testing.T, dir string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"), MaxBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// post writes a client attribute of n bytes as a device does.
func post(r *registry.Registry, device, n int) error {
	return r.Posted(id(device), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{
		{Key: "k", Type: proto.KeyValueType_STRING_V, StringV: strings.Repeat("x", n)},
	}})
}

func dashboard(n, size int) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{
		{IdMSB: msb, IdLSB: lsb, Entity: `{"image":"` + strings.Repeat("d", size) + `"}`},
	}}
}

// reopen closes a small registry and opens it again.
func reopen(t *testing.T, r *registry.Registry, dir string) *registry.Registry {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return small(t, dir)
}

func finds(r *registry.Registry, tokens ...string) (found string) {
	for _, token := range tokens {
		if d, ok := r.ByToken(token); ok {
			found += token + "=" + d.Name + " "
		}
	}
	return strings.TrimSpace(found)
}

// Devices fill their share with attributes and the cloud fills the rest: what the cloud says of
// credentials, users and profiles has a reserve of its own.
func TestFullRegistryTakesCredentials(t *testing.T) {
	dir := t.TempDir()
	r := small(t, dir)
	m := everyKind(7)
	apply(t, r, m)
	for n := range 40 {
		apply(t, r, devices(device(100+n, fmt.Sprintf("d%d", n))))
		apply(t, r, tokens(creds(100+n, "ACCESS_TOKEN", fmt.Sprintf("old-%d", n))))
	}
	taken := 0
	for n := range 40 {
		if post(r, 100+n, 50_000) == nil {
			taken += 50_000
		}
	}
	if taken < 150_000 || taken > 1<<18 {
		t.Errorf("devices wrote %d bytes, their share is a quarter of a MiB", taken)
	}
	kept := 0
	for n := range 100 {
		if apply(t, r, dashboard(500+n, 20_000)) {
			kept += 20_000
		}
	}
	if kept < 400_000 || kept+taken > 7<<17 {
		t.Errorf("dashboards of %d bytes beside %d bytes of attributes: an eighth of a MiB is reserved", kept, taken)
	}
	for n := range 40 {
		if !apply(t, r, tokens(creds(100+n, "ACCESS_TOKEN", fmt.Sprintf("new-%d", n)))) {
			t.Errorf("new credentials %d are not kept", n)
		}
	}
	off := userCreds(7)
	off.Entity = strings.Replace(off.Entity, "$2a$10$abc", "$2a$10$new", 1)
	apply(t, r, &proto.DownlinkMsg{UserUpdateMsg: m.UserUpdateMsg, UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{off}})
	apply(t, r, provisioning("s2", 0))
	for range 2 {
		for n := range 40 {
			want := fmt.Sprintf("new-%d=d%d", n, n)
			if got := finds(r, fmt.Sprintf("old-%d", n), fmt.Sprintf("new-%d", n)); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if got := r.Record("usercreds", id(7)); !strings.Contains(got, "$2a$10$new") {
			t.Errorf("the user's new password is not kept: %s", got)
		}
		if _, ok := r.Provision("k", "s2"); !ok {
			t.Error("the new secret of provisioning is not kept")
		}
		r = reopen(t, r, dir)
	}
}

// provisioning is a device profile with a secret of provisioning, and so many bytes more.
func provisioning(secret string, size int) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(900))
	return &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"name":"p","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"k","image":"` + strings.Repeat("i", size) +
			`","profileData":{"provisionConfiguration":{"provisionDeviceSecret":"` + secret + `"}}}`,
	}}}
}

// A replacement counts the difference: in a full registry a value may be replaced by one of the
// same length.
func TestReplacementCountsTheDifference(t *testing.T) {
	r := small(t, t.TempDir())
	n := 0
	for apply(t, r, dashboard(n, 100_000)) {
		n++
	}
	if n == 0 {
		t.Fatal("nothing is kept")
	}
	m := dashboard(0, 100_000)
	m.DashboardUpdateMsg[0].Entity = strings.ReplaceAll(m.DashboardUpdateMsg[0].Entity, "d", "e")
	m.DashboardUpdateMsg[0].Entity = strings.Replace(m.DashboardUpdateMsg[0].Entity, "titlee", "title", 1)
	if !apply(t, r, m) {
		t.Error("a replacement of the same length is not kept")
	}
	if !apply(t, r, dashboard(0, 10)) || !apply(t, r, dashboard(n, 90_000)) {
		t.Error("what a shorter value leaves is not free")
	}
}

// When not even the reserve has room, or the credentials are of a kind that is unknown here, the
// old ones are out of force, now and after a restart.
func TestOldCredentialsGoWhateverHappens(t *testing.T) {
	dir := t.TempDir()
	r := small(t, dir)
	apply(t, r, devices(device(1, "a"), device(2, "b"), device(3, "c"), device(4, "d")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"), creds(2, "ACCESS_TOKEN", "t2"), creds(3, "ACCESS_TOKEN", "t3")))
	large := func(n int, token string, size int) *proto.DownlinkMsg {
		c := creds(n, "ACCESS_TOKEN", token)
		c.Entity = strings.Replace(c.Entity, "null", `"`+strings.Repeat("v", size)+`"`, 1)
		return tokens(c)
	}
	apply(t, r, provisioning("s1", 0))
	apply(t, r, &proto.DownlinkMsg{
		UserUpdateMsg:            []*proto.UserUpdateMsg{user(7, "TENANT_ADMIN", 0), user(8, "TENANT_ADMIN", 0)},
		UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{userCreds(7), userCreds(8)},
	})
	apply(t, r, large(4, "t4", 1<<20-6144))
	if apply(t, r, large(1, "n1", 8192)) {
		t.Fatal("the reserve is not full")
	}
	if got := finds(r, "t1", "n1"); got != "n1=a" {
		t.Errorf("%q: new credentials are in force although they cannot be stored, old ones are not", got)
	}
	for _, c := range []*proto.DeviceCredentialsUpdateMsg{
		creds(2, "LWM2M_CREDENTIALS", "n2"), creds(3, "ACCESS_TOKEN", ""),
	} {
		apply(t, r, tokens(c))
	}
	apply(t, r, provisioning("s2", 8192))
	if _, ok := r.Provision("k", "s2"); !ok {
		t.Error("the new secret of provisioning is not in force")
	}
	password := userCreds(7)
	password.Entity = strings.Replace(password.Entity, "abc", strings.Repeat("p", 8192), 1)
	demoted := user(8, "TENANT_ADMIN", 0)
	demoted.Entity = strings.Replace(demoted.Entity, "u@x", strings.Repeat("u", 8192), 1)
	apply(t, r, &proto.DownlinkMsg{
		UserUpdateMsg: []*proto.UserUpdateMsg{demoted}, UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{password},
	})
	for range 2 {
		if _, ok := r.Provision("k", "s1"); ok || r.Record("usercreds", id(7)) != "" || r.Record("user", id(8)) != "" {
			t.Error("an old secret of provisioning, password or user is still in force")
		}
		if got := finds(r, "t1", "t2", "t3"); got != "" {
			t.Errorf("still in force: %s", got)
		}
		r = reopen(t, r, dir)
	}
}

// While the medium refuses to be written, credentials change all the same, and the message is not
// acknowledged.
func TestRefusingMediumKeepsNoOldCredentials(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b"), device(3, "c")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"), creds(2, "ACCESS_TOKEN", "t2"), creds(3, "ACCESS_TOKEN", "t3")))
	r.RefuseWrites()
	failed := false
	for n := range 60 { // what is staged reaches its bound
		_, err := r.Apply(dashboard(n, 20_000))
		failed = failed || err != nil
	}
	if !failed {
		t.Error("the staged bytes did not reach their bound")
	}
	if _, err := r.Apply(tokens(creds(1, "ACCESS_TOKEN", "n1"))); err == nil {
		t.Error("no error from a medium that refuses")
	}
	_, _ = r.Apply(devices(gone(2)))
	_, _ = r.Apply(tokens(creds(3, "LWM2M_CREDENTIALS", "n3")))
	if got := finds(r, "t1", "n1", "t2", "t3"); got != "n1=a" {
		t.Errorf("in force: %q", got)
	}
	// However often that comes again, what is staged stays bounded; old credentials go then too.
	for n := range 40 {
		_, _ = r.Apply(tokens(creds(1000+n, "ACCESS_TOKEN", strings.Repeat("y", 60_000)+fmt.Sprint(n))))
	}
	if n := r.Staged(); n > 5<<19 {
		t.Errorf("%d bytes are staged", n)
	}
	_, _ = r.Apply(tokens(creds(1, "ACCESS_TOKEN", "n2")))
	if got := finds(r, "n1"); got != "" {
		t.Errorf("in force: %q", got)
	}
}

// The bound is a share of what is free, at least 2 MiB and at most 64 MiB.
func TestBoundIsAShareOfWhatIsFree(t *testing.T) {
	for free, want := range map[int64]int64{0: 2 << 20, 64 << 20: 8 << 20, 1 << 40: 64 << 20, -1: 2 << 20} {
		if got := registry.ShareOf(free); got != want {
			t.Errorf("%d free: %d, want %d", free, got, want)
		}
	}
}
