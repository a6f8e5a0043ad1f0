package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What was written in either form is read back as it was, whatever the texts hold.
func TestRender(t *testing.T) {
	dir := uciFixture(t)
	args := []string{
		`--data_dir=/srv/it's "here"`, "--cloud.host=tb.example.org", "--cloud.port=7071", "--cloud.tls.enabled",
		"--cloud.routing_key=k'\\\"#;",
		"--queue.max_bytes=64MiB", "--queue.max_age=7d", "--registry.keep=ota,images", "--http.listen=", "--mqtt.listen=127.0.0.1:1884",
		`--mqtt.map=[{filter = "tele/+/SENSOR", device = "plug $1", flatten = true}, {filter = "a/+", device = 1, prefix = "it's"}]`,
		"--mqtt.tls.listen=:8883", "--log.level=debug", "--cloud.routing_secret=hush-hush", "--batch.timeout=0",
	}
	l, err := load(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hush-hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.service = [][2]string{{"jail", "0"}, {"memory_limit", "16MiB"}}
	for _, p := range []Place{{UCI: true, Secret: secret}, {Secret: secret}, {UCI: true, Secret: secret + "-elsewhere"}} {
		text := string(l.Render(p))
		if strings.Contains(text, "hush") || !p.UCI == strings.Contains(text, "jail '0'") {
			t.Errorf("%s", text)
		}
		if strings.Count(text, "routing_secret_file") != map[bool]int{true: 0, false: 1}[p.UCI && p.Secret == secret] {
			t.Errorf("the secret's file: %s", text)
		}
		again, err := load(t, nil, "--config", writeFile(t, "config", text))
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		want := l.Config
		want.Cloud.RoutingSecret = ""
		if again.Config.Cloud.RoutingSecretFile != "" && again.Config.Cloud.RoutingSecretFile != p.Secret {
			t.Errorf("the secret's file: %q", again.Config.Cloud.RoutingSecretFile)
		}
		again.Config.Cloud.RoutingSecretFile = ""
		if !reflect.DeepEqual(again.Config, want) {
			t.Errorf("got\n%+v, want\n%+v, in\n%s", again.Config, want, text)
		}
		if p.UCI && !reflect.DeepEqual(again.service, l.service) {
			t.Errorf("options of the service %q", again.service)
		}
	}
	// A new machine gets what was said, and nothing else.
	l, err = load(t, nil, "--cloud.host=tb", "--cloud.routing_key=k")
	if err != nil {
		t.Fatal(err)
	}
	const want = "\nconfig edgesync 'main'\n\toption enabled '1'\n\nconfig section 'cloud'\n\toption host 'tb'\n\toption routing_key 'k'\n"
	if got := string(l.Render(Place{UCI: true, Secret: secret})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
