package cli

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An agent reads OpenWrt's file itself, and the commands beside it find the same directory there.
func TestAgentWithUCI(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "it's here"))
	host, port, _ := net.SplitHostPort(s.addr)
	s.config = filepath.Join(t.TempDir(), "edgesync")
	secret := filepath.Join(filepath.Dir(s.config), "secret")
	text := fmt.Sprintf(`
config edgesync 'main'
	option enabled '1'
	option data_dir '%s'

config section 'cloud'
	option host '%s'
	option port '%s'
	option routing_key 'key'
	option routing_secret_file '%s'

config section 'http'
	option listen '127.0.0.1:0'

config section 'mqtt'
	option listen 'off'
`, strings.ReplaceAll(s.dir, "'", `'\''`), host, port, secret)
	for name, text := range map[string]string{s.config: text, secret: s.edge.Secret} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := s.synced()
	if code, _ := post(r.http, "token-1", `{"ts":1,"values":{"n":1}}`); code != http.StatusOK {
		t.Fatalf("post: %d", code)
	}
	s.arrived(s.mustBeNamed("station 1"), "n", 1)
	if out, code := s.tool("status", "--json"); code != 0 || !strings.Contains(out, `"running":true`) ||
		!strings.Contains(out, `"mqtt_address":""`) {
		t.Errorf("status: %d, %s", code, out)
	}
	if out, code := s.tool("check"); code != 0 || !strings.Contains(out, s.config+":8, option cloud.port") {
		t.Errorf("check: %d, %s", code, out)
	}
	if out, code := s.tool("wal", "verify"); code != 0 {
		t.Errorf("wal verify: %d, %s", code, out)
	}
}
