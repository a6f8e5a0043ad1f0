package openwrt

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// box is a directory in which the init script runs, with stand-ins for everything around it.
type box struct {
	t   *testing.T
	dir string
}

func newBox(t *testing.T) *box {
	b := &box{t, t.TempDir()}
	b.write("etc/edgesync/config.toml", "")
	b.write("passwd", "root:x:0:0::/:\nedgesync:x:8077:8078::/:\n")
	b.write("mounts", "/dev/root /rom squashfs ro 0 0\noverlayfs:/overlay / overlay rw 0 0\n")
	b.uci("main.enabled=1", "main.data_dir="+b.dir+"/srv/edgesync")
	b.agent("exit 0")
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, text string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// uci replaces /etc/config/edgesync.
func (b *box) uci(lines ...string) { b.write("uci/edgesync", strings.Join(lines, "\n")+"\n") }

// agent replaces the program edgesync by a script.
func (b *box) agent(script string) { b.program("#!/bin/sh\n" + script + "\n") }

// program replaces the program edgesync by these bytes.
func (b *box) program(text string) {
	b.write("edgesync", text)
	if err := os.Chmod(b.path("edgesync"), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// busybox is the command that runs a script in OpenWrt's shell.
func busybox(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing: scripts/ci/prepare openwrt installs it")
	}
	return path
}

// do sources a script behind the stand-ins, in busybox ash, and runs a command of it. It returns
// what the command printed.
func (b *box) do(script, command string) string {
	b.t.Helper()
	standins, err := filepath.Abs("testdata/standins.sh")
	if err != nil {
		b.t.Fatal(err)
	}
	if script, err = filepath.Abs(script); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(busybox(b.t), "ash", "-c", `. "$1"; . "$2"
		PROG=$BOX/edgesync ETC=$BOX/etc/edgesync UCI=$BOX/etc/config/edgesync RUN=$BOX/run/edgesync PASSWD=$BOX/passwd MOUNTS=$BOX/mounts UJAIL=$BOX/ujail OVERLAY=$BOX/overlay
		$3`, "ash", standins, script, command)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BOX=" + b.dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// start runs the init script's start, as at boot.
func (b *box) start() {
	b.t.Helper()
	if out := b.do("edgesync.init", "start"); out != "" {
		b.t.Errorf("start printed %q; it has nobody to print for", out)
	}
}

// read returns a file of the box with the box's own path left out, "" if there is none.
func (b *box) read(name string) string {
	text, err := os.ReadFile(b.path(name))
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), b.dir, "")
}

func (b *box) calls() [][]string {
	var calls [][]string
	for line := range strings.Lines(b.read("calls")) {
		calls = append(calls, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return calls
}

// service is the message that procd.sh makes of recorded calls.
func service(calls [][]string) map[string]any {
	instance := map[string]any{}
	instances := map[string]any{}
	triggers := []any{}
	mount := func(paths []string, how string) {
		for _, path := range paths {
			instance["jail"].(map[string]any)["mount"].(map[string]any)[path] = how
		}
	}
	for _, call := range calls {
		args := call[1:]
		switch call[0] {
		case "procd_close_instance":
			instances["instance1"] = instance
		case "procd_set_param":
			name, values := args[0], args[1:]
			switch name {
			case "command", "file", "respawn":
				instance[name] = words(values)
			case "limits", "env":
				table := map[string]any{}
				for _, v := range values {
					key, value, _ := strings.Cut(v, "=")
					table[key] = value
				}
				instance[name] = table
			case "term_timeout":
				n, _ := strconv.Atoi(values[0])
				instance[name] = float64(n)
			case "stdout", "stderr", "no_new_privs":
				instance[name] = values[0] == "1"
			default:
				instance[name] = values[0]
			}
		case "procd_add_jail":
			jail := map[string]any{"name": args[0], "mount": map[string]any{}}
			for _, a := range args[1:] {
				jail[a] = true
			}
			instance["jail"] = jail
		case "procd_add_jail_mount":
			mount(args, "0")
		case "procd_add_jail_mount_rw":
			mount(args, "1")
		case "procd_add_reload_trigger":
			triggers = append(triggers, []any{
				"config.change",
				[]any{"if", []any{"eq", "package", args[0]}, []any{"run_script", "/etc/init.d/edgesync", "reload"}},
				1000.0,
			})
		case "procd_add_raw_trigger":
			n, _ := strconv.Atoi(args[1])
			triggers = append(triggers, []any{args[0], []any{append([]any{"run_script"}, words(args[2:])...)}, float64(n)})
		}
	}
	return map[string]any{
		"name": "edgesync", "script": "/etc/init.d/edgesync", "instances": instances, "triggers": triggers,
	}
}

func words(list []string) []any {
	var out []any
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// recorded is what the real procd.sh made of the script that was tried.
func recorded(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/tried.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

// instance is the instance that start gave to procd; nil if it started nothing.
func (b *box) instance() map[string]any {
	i, _ := service(b.calls())["instances"].(map[string]any)["instance1"].(map[string]any)
	return i
}
