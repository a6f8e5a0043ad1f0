package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// asked runs setup with somebody at a terminal, or with a pipe.
func asked(t *testing.T, terminal bool, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{Build: Build{Version: "dev"}, stdin: strings.NewReader(input), interactive: terminal, stdout: &out, stderr: &errs}
	code = p.run(context.Background(), append([]string{"setup"}, args...))
	if all := out.String() + errs.String(); strings.Contains(all, "s3cr3t") {
		t.Errorf("the secret is shown:\n%s", all)
	}
	return code, out.String(), errs.String()
}

// loaded is the configuration that setup has written.
func loaded(t *testing.T, file string) *config.Loaded {
	t.Helper()
	var f config.Flags
	f.UseFile(file)
	l, err := complete(&f, nil)
	if err != nil {
		t.Fatalf("what was written: %v", err)
	}
	return l
}

func readPrivate(t *testing.T, name string) string {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %o", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Somebody answers at a terminal: what is wrong is asked for again, and both files are written with
// mode 0600.
func TestSetupAsks(t *testing.T) {
	for _, form := range []string{"toml", "uci"} {
		file := filepath.Join(t.TempDir(), "etc", "edgesync")
		code, out, errs := asked(t, true, "https://tb/\ntb.example.org\n\nyes\nkey-1\n\ns3cr3t-of-it\noff\n\n",
			"--config", file, "--form", form, "--no-test")
		if code != 0 || !strings.Contains(out, "The configuration is in "+file) || !strings.Contains(errs, "not a URL") ||
			!strings.Contains(errs, "This must not be empty") {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		text, secret := readPrivate(t, file), readPrivate(t, filepath.Join(filepath.Dir(file), "secret"))
		if strings.Contains(text, "s3cr3t") || secret != "s3cr3t-of-it\n" || strings.HasPrefix(text,
			"\nconfig edgesync 'main'") != (form == "uci") {
			t.Errorf("secret %q, file\n%s", secret, text)
		}
		c := loaded(t, file).Config
		want := config.Cloud{
			Host: "tb.example.org", Port: 7070, Timeout: c.Cloud.Timeout, RoutingKey: "key-1", RoutingSecret: "s3cr3t-of-it",
			RoutingSecretFile: filepath.Join(filepath.Dir(file), "secret"), EdgeVersion: 12, TLS: config.TLS{Enabled: true},
		}
		if !reflect.DeepEqual(c.Cloud, want) || c.HTTP.Listen != "" || c.MQTT.Listen != ":1883" {
			t.Errorf("%+v\n%+v %+v", c.Cloud, c.HTTP, c.MQTT)
		}
		// Once more: an empty answer leaves what is there, and what else stands there stays.
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		more := "\n[log]\nlevel = \"warn\"\n"
		if form == "uci" {
			more = "\nconfig section 'log'\n\toption level 'warn'\nconfig edgesync 'main'\n\toption jail '0'\n"
		}
		io.WriteString(f, more)
		f.Close()
		code, out, errs = asked(t, true, "\n7071\n\n\n\n\n\n", "--config", file, "--form", form, "--no-test")
		if code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		c = loaded(t, file).Config
		want.Port = 7071
		if !reflect.DeepEqual(c.Cloud, want) || c.HTTP.Listen != "" || c.Log.Level != "warn" {
			t.Errorf("%+v\n%+v %+v", c.Cloud, c.HTTP, c.Log)
		}
		if form == "uci" && !strings.Contains(readPrivate(t, file), "option jail '0'") {
			t.Error("the option of the service is gone")
		}
		before := map[string]string{"toml": file + ".before", "uci": filepath.Join(filepath.Dir(file), "config.before")}[form]
		if got := readPrivate(t, before); got != text+more {
			t.Errorf("what stood there before: %q", got)
		}
	}
}

// Without a terminal flags say all, or it says what is missing and writes nothing.
func TestSetupWithFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.toml")
	for _, c := range []struct {
		input string
		args  []string
		code  int
		want  string
	}{
		{"", nil, 2, "no terminal to ask on; say --cloud.host, --cloud.routing_key, --cloud.routing_secret (the secret rather"},
		{"", []string{"--cloud.host=tb", "--cloud.routing_key=k"}, 2, "say --cloud.routing_secret "},
		{
			"",
			[]string{"--cloud.host=tb/", "--cloud.routing_key=k", "--cloud.routing_secret=s3cr3t-s3cr3t"},
			78,
			"must be a name or an address alone",
		},
		{"", []string{"--cloud.host=tb", "--cloud.routing_key=k", "--cloud.routing_secret_file=/nowhere/x"}, 78, "/nowhere/x"},
		{"", []string{"--form=json"}, 2, "--form is uci or toml"},
		{"", []string{"--cloud.hots=x"}, 2, "did you mean --cloud.host?"},
		{"", []string{"word"}, 2, "an argument too many"},
	} {
		if code, out, errs := asked(t, false, c.input, append(c.args, "--config", file,
			"--no-test")...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit code %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
		if _, err := os.Lstat(file); err == nil {
			t.Fatalf("%q: something was written", c.args)
		}
	}
	secret := filepath.Join(dir, "mine")
	if err := os.WriteFile(secret, []byte("s3cr3t-in-a-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ input, flag, secret, file string }{
		{"", "--cloud.routing_secret=s3cr3t-in-a-flag", "s3cr3t-in-a-flag", filepath.Join(dir, "secret")},
		{"s3cr3t-in-a-pipe\n", "--secret-stdin", "s3cr3t-in-a-pipe", filepath.Join(dir, "secret")},
		{"", "--cloud.routing_secret_file=" + secret, "s3cr3t-in-a-file", secret},
	} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		code, out, errs := asked(t, false, c.input, "--config", file, "--no-test", "--cloud.host=tb", "--cloud.routing_key=k", c.flag)
		if code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		if got := loaded(t, file).Config.Cloud; got.RoutingSecret != c.secret || got.RoutingSecretFile != c.file {
			t.Errorf("%s: file %s", c.flag, got.RoutingSecretFile)
		}
	}
}

// The secret is found by an agent that is started in another directory than setup was.
func TestSetupInADirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	code, out, errs := asked(t, false, "s3cr3t-in-a-pipe\n", "--config", "etc/c.toml", "--no-test", "--cloud.host=tb",
		"--cloud.routing_key=k", "--secret-stdin")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	t.Chdir("/")
	got := loaded(t, filepath.Join(dir, "etc/c.toml")).Config.Cloud
	if want := filepath.Join(dir, "etc/secret"); got.RoutingSecretFile != want || got.RoutingSecret != "s3cr3t-in-a-pipe" {
		t.Errorf("%q", got.RoutingSecretFile)
	}
}

// The link is tried first. Where there is none nothing is written, unless somebody at a terminal
// says so.
func TestSetupTries(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	host, port, _ := net.SplitHostPort(s.addr)
	file := filepath.Join(t.TempDir(), "c.toml")
	flags := func(secret string) []string {
		return []string{
			"--config", file, "--data_dir", s.dir, "--cloud.host", host, "--cloud.port", port, "--cloud.routing_key=key",
			"--cloud.routing_secret", secret, "--cloud.tls.enabled=false", "--http.listen=127.0.0.1:0", "--mqtt.listen=127.0.0.1:0",
		}
	}
	code, out, errs := asked(t, false, "", flags("s3cr3t-but-wrong")...)
	if code != 1 || !strings.Contains(errs, "nothing was written") || !strings.Contains(out, "secret") {
		t.Errorf("a wrong secret: exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := asked(t, true, "no\n", flags("s3cr3t-but-wrong")...); code != 1 || !strings.Contains(errs, "Type yes") {
		t.Errorf("no: exit code %d\n%s", code, errs)
	}
	if _, err := os.Lstat(file); err == nil {
		t.Fatal("something was written")
	}
	if code, _, errs := asked(t, true, "yes\n", flags("s3cr3t-but-wrong")...); code != 0 {
		t.Errorf("yes: exit code %d\n%s", code, errs)
	}
	code, out, errs = asked(t, false, "", flags(s.edge.Secret)...)
	if code != 0 || !strings.Contains(out, `the cloud takes this edge: "edge" of type "default"`) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	s.config = file
	r := s.synced() // and with what was written the agent runs
	// Beside the agent it is tried too, and that is no other agent with this key.
	if code, out, errs = asked(t, false, "", flags(s.edge.Secret)...); code != 0 || strings.Contains(out, "✘") {
		t.Errorf("beside the agent: exit code %d\n%s%s", code, out, errs)
	}
	s.eventually("the agent is back", func() bool { return r.snapshot().State == agent.Connected })
}

// The service is told in the words of the one that manages it.
func TestSetupEnables(t *testing.T) {
	dir := t.TempDir()
	calls, script := filepath.Join(dir, "calls"), filepath.Join(dir, "init")
	text := "#!/bin/sh\necho \"$@\" >>" + calls + "\n[ \"$1\" != fail ]\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	old := managers
	defer func() { managers = old }()
	for _, c := range []struct {
		mark  string
		word  string
		code  int
		calls string
		said  string
	}{
		{script, "restart", 0, "enable\nrestart\n", "The service is enabled and runs"},
		{script, "fail", 1, "enable\nfail\n", "exit status 1"},
		{filepath.Join(dir, "none"), "restart", 0, "", "no service of edgesync on this machine"},
	} {
		managers = managers[:0:0]
		managers = append(managers, old[0])
		managers[0].mark, managers[0].commands = c.mark, [][]string{{script, "enable"}, {script, c.word}}
		os.Remove(calls)
		var out, errs bytes.Buffer
		s := &setup{program: &program{stdout: &out, stderr: &errs, env: os.Environ()}}
		code := s.enable()
		got, _ := disk.ReadRegular(calls, 1000)
		if code != c.code || string(got) != c.calls || !strings.Contains(out.String()+errs.String(), c.said) {
			t.Errorf("%s: %d, %q, %s%s", c.word, code, got, &out, &errs)
		}
	}
	for i, want := range []string{
		"/etc/init.d/edgesync [[/etc/init.d/edgesync enable] [/etc/init.d/edgesync restart]]",
		"/run/systemd/system [[/usr/bin/systemctl enable --now edgesync] [/usr/bin/systemctl try-restart edgesync]]",
	} {
		if got := fmt.Sprint(old[i].mark, " ", old[i].commands); got != want {
			t.Errorf("%s", got)
		}
	}
}
