package openwrt

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgesync/sync/config"
)

// TestStandInsAreRight holds the stand-ins against the real programs: what they make of the script
// that was tried is what those made of it.
func TestStandInsAreRight(t *testing.T) {
	b := newBox(t)
	b.uci("main.enabled=1")
	script, err := os.ReadFile("testdata/tried.init")
	if err != nil {
		t.Fatal(err)
	}
	// There it ran as root of its own machine, with a jail.
	b.write("tried", strings.NewReplacer("[ -x /sbin/ujail ] && [ -e /tmp/usejail ]", "true", "mkdir", ": mkdir", "chmod", ": chmod").
		Replace(string(script)))
	b.do(b.path("tried"), "start")
	calls := slices.DeleteFunc(b.calls(), func(c []string) bool { return c[0] == "chown" })
	if got, want := service(calls), recorded(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestServiceOfProcd compares the service with the one that was tried, difference by difference.
func TestServiceOfProcd(t *testing.T) {
	b := newBox(t)
	b.write("ujail", "")
	if err := os.Chmod(b.path("ujail"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("overlay/upper/x", "")
	b.write("etc/edgesync/secret", "hidden")
	b.start()
	if log := b.read("log"); log != "" {
		t.Errorf("it logged %q", log)
	}
	want := recorded(t)
	instance := want["instances"].(map[string]any)["instance1"].(map[string]any)
	instance["command"] = []any{
		"/edgesync", "run", "--config", "/etc/edgesync/config.toml", "--data_dir", "/srv/edgesync", "--log.target", "procd",
	}
	instance["file"] = []any{"/etc/edgesync/config.toml", "/etc/edgesync/secret", "/edgesync"}
	jail := instance["jail"].(map[string]any)
	jail["sysfs"] = true
	mount := jail["mount"].(map[string]any)
	mount["/overlay"] = "0"
	maps.DeleteFunc(mount, func(path string, _ any) bool { return path == "/etc/passwd" || path == "/etc/group" })
	got := service(b.calls())
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if i := slices.IndexFunc(b.calls(), func(c []string) bool {
		return slices.Equal(c, []string{"procd_add_restart_mount_trigger", "/srv/edgesync"})
	}); i < 0 {
		t.Error("a medium that is mounted later does not restart the service")
	}
	if i := slices.IndexFunc(b.calls(), func(c []string) bool {
		return slices.Equal(c, []string{"chown", "-R", "8077:8078", "/srv/edgesync"})
	}); i < 0 {
		t.Error("data_dir was not given to the account")
	}
	if info, err := os.Stat(b.path("srv/edgesync")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data_dir: %v, %v; want mode 0700", info, err)
	}
}

func TestOptions(t *testing.T) {
	t.Run("no ujail, no jail", func(t *testing.T) {
		b := newBox(t)
		b.start()
		if i := b.instance(); i == nil || i["jail"] != nil || i["user"] != "edgesync" {
			t.Errorf("got %v", i)
		}
	})
	t.Run("jail '0'", func(t *testing.T) {
		b := newBox(t)
		b.write("ujail", "")
		os.Chmod(b.path("ujail"), 0o755)
		b.uci("main.enabled=1", "main.data_dir="+b.dir+"/srv/edgesync", "main.jail=0")
		b.start()
		if i := b.instance(); i == nil || i["jail"] != nil {
			t.Errorf("got %v", i)
		}
	})
	t.Run("a configuration elsewhere is in the jail too", func(t *testing.T) {
		b := newBox(t)
		b.write("ujail", "")
		os.Chmod(b.path("ujail"), 0o755)
		b.write("else/where.toml", "")
		b.uci("main.enabled=1", "main.data_dir="+b.dir+"/srv/edgesync", "main.config="+b.dir+"/else/where.toml")
		b.start()
		if got := b.instance()["jail"].(map[string]any)["mount"].(map[string]any)["/else/where.toml"]; got != "0" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("no file of its own for the secret", func(t *testing.T) {
		b := newBox(t)
		b.start()
		if got, want := b.instance()["file"], any([]any{"/etc/edgesync/config.toml", "/edgesync"}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
	t.Run("memory_limit", func(t *testing.T) {
		b := newBox(t)
		b.uci("main.enabled=1", "main.data_dir="+b.dir+"/srv/edgesync", "main.memory_limit=16MiB")
		b.start()
		if got, want := b.instance()["env"], any(map[string]any{"GOMEMLIMIT": "16MiB"}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("data_dir of the file", func(t *testing.T) {
		b := newBox(t)
		b.uci("main.enabled=1")
		b.agent(`echo "configuration file   x"; printf '%-26s %-24s %s\n' data_dir ` + b.dir + `/flash/es /etc/edgesync/config.toml:1`)
		b.start()
		if got := b.instance()["command"].([]any)[5]; got != "/flash/es" {
			t.Errorf("got %v", got)
		}
	})
}

// TestReadsUCI holds that without config.toml the agent reads /etc/config/edgesync itself: a copy
// that the account may read, while procd watches the original.
func TestReadsUCI(t *testing.T) {
	b := newBox(t)
	b.write("ujail", "")
	os.Chmod(b.path("ujail"), 0o755)
	if err := os.Remove(b.path("etc/edgesync/config.toml")); err != nil {
		t.Fatal(err)
	}
	b.write("etc/config/edgesync", "config edgesync 'main'\n\toption enabled '1'\n")
	b.write("etc/edgesync/secret", "hidden")
	b.write("run/edgesync/config", "an old one")
	b.agent(`echo "$@" >>` + b.path("asked"))
	b.start()
	if log := b.read("log"); log != "" {
		t.Errorf("it logged %q", log)
	}
	if got, want := b.read("asked"), "check --config /etc/config/edgesync --data_dir /srv/edgesync\n"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	i := b.instance()
	command := []any{
		"/edgesync", "run", "--config", "/run/edgesync/config", "--data_dir", "/srv/edgesync", "--log.target", "procd",
	}
	if !reflect.DeepEqual(i["command"], any(command)) {
		t.Errorf("command %v", i["command"])
	}
	if want := any([]any{"/etc/config/edgesync", "/etc/edgesync/secret", "/edgesync"}); !reflect.DeepEqual(i["file"], want) {
		t.Errorf("file %v", i["file"])
	}
	if got := i["jail"].(map[string]any)["mount"].(map[string]any)["/run/edgesync/config"]; got != "0" {
		t.Errorf("the copy is not in the jail")
	}
	info, err := os.Stat(b.path("run/edgesync/config"))
	if err != nil || info.Mode().Perm() != 0o400 || b.read("run/edgesync/config") != b.read("etc/config/edgesync") {
		t.Errorf("the copy: %v, %v", info, err)
	}
	if !slices.ContainsFunc(b.calls(), func(c []string) bool {
		return slices.Equal(c, []string{"chown", "8077:8078", "/run/edgesync/config"})
	}) {
		t.Error("the copy was not given to the account")
	}
	if dir, err := os.Readlink(b.path("run/edgesync/data_dir")); err != nil || dir != b.path("srv/edgesync") {
		t.Errorf("the link to data_dir: %q, %v", dir, err)
	}
}

// TestShippedConfiguration holds that a reset leaves what the package brings.
func TestShippedConfiguration(t *testing.T) {
	text, err := os.ReadFile("edgesync.config")
	if err != nil || string(text) != config.ShippedUCI {
		t.Errorf("%v, %q", err, text)
	}
}

// TestTwoConfigurations holds that settings which do not count are told.
func TestTwoConfigurations(t *testing.T) {
	b := newBox(t)
	b.uci("main.enabled=1", "main.data_dir="+b.dir+"/srv/edgesync", "cloud.host=x")
	b.start()
	if got, want := b.read("log"), "warn: the settings of /etc/config/edgesync do not count, because there is /etc/edgesync/config.toml: "+
		"move one of the two away\n"; got != want || b.instance() == nil {
		t.Errorf("log %q, want %q", got, want)
	}
}

// TestStartsNothing holds that the service is not started, and the log says why, in one line.
func TestStartsNothing(t *testing.T) {
	const mounts = "overlayfs:/overlay / overlay rw 0 0\n"
	for _, c := range []struct {
		name    string
		prepare func(*box)
		log     string
	}{
		{"disabled", func(b *box) { b.uci("main.enabled=0") }, "notice: not started: /etc/config/edgesync says enabled '0'\n"},
		{"never configured", func(b *box) { b.uci() }, "notice: not started: /etc/config/edgesync says enabled '0'\n"},
		{"exit 78", func(b *box) {
			b.agent(`echo "data_dir   x   default"
				printf 'edgesync: the configuration is wrong:\n  cloud.port: 0\n  queue.policy: no\n' >&2; exit 78`)
		}, "err: not started: edgesync: the configuration is wrong: cloud.port: 0 queue.policy: no \n"},
		{
			"a program of another architecture", func(b *box) { b.program("\x7fELF\x01\x01\x01(((") },
			"err: not started: /edgesync does not run here (exit code 2): it is damaged, or of another architecture than " +
				"this machine's; install the package again\n",
		},
		{
			"a program of which nothing was written", func(b *box) { b.program("") },
			"err: not started: /edgesync does not run here (exit code 0): it is damaged, or of another architecture than " +
				"this machine's; install the package again\n",
		},
		{"a program that is not there", func(b *box) {
			if err := os.Remove(b.path("edgesync")); err != nil {
				b.t.Fatal(err)
			}
		}, "err: not started: /edgesync does not run here (exit code 127): it is damaged, or of another architecture than " +
			"this machine's; install the package again\n"},
		{
			"a program that is cut off", func(b *box) { b.agent("kill -SEGV $$") },
			"err: not started: /edgesync does not run here (exit code 139): it is damaged, or of another architecture than " +
				"this machine's; install the package again\n",
		},
		{
			"no account", func(b *box) { b.write("passwd", "root:x:0:0::/:\n") },
			"err: not started: there is no user edgesync; install the package again, it makes the user\n",
		},
		{
			"relative", func(b *box) { b.uci("main.enabled=1", "main.data_dir=srv/edgesync") },
			"err: not started: data_dir 'srv/edgesync' must be a directory of its own, such as /srv/edgesync\n",
		},
		{
			"the root", func(b *box) { b.uci("main.enabled=1", "main.data_dir=/srv") },
			"err: not started: data_dir '/srv' must be a directory of its own, such as /srv/edgesync\n",
		},
		{
			"a blank", func(b *box) { b.uci("main.enabled=1", "main.data_dir=/srv/a b") },
			"err: not started: data_dir '/srv/a b' holds a blank; choose another name\n",
		},
		{"a stick that is not mounted", func(b *box) {
			b.write("uci/fstab", "stick.target="+b.dir+"/stick/\nswap.device=/dev/sda2\n")
			b.uci("main.enabled=1", "main.data_dir="+b.dir+"/stick/edgesync")
		}, "err: not started: data_dir is /stick/edgesync, and nothing is mounted at /stick, which /etc/config/fstab names\n"},
		{"a stick that fstab does not know", func(b *box) {
			b.write("mounts", mounts+"/dev/sda1 /mnt/other ext4 rw 0 0\n")
			b.uci("main.enabled=1", "main.data_dir=/mnt/no-such-stick/edgesync")
		}, "err: not started: data_dir is /mnt/no-such-stick/edgesync, and nothing is mounted there; is the medium plugged in?\n"},
		{"a link to a stick that is not there", func(b *box) {
			if err := os.Symlink("/mnt/no-such-stick", b.path("link")); err != nil {
				b.t.Fatal(err)
			}
			b.uci("main.enabled=1", "main.data_dir="+b.dir+"/link")
		}, "err: not started: data_dir is /mnt/no-such-stick, and nothing is mounted there; is the medium plugged in?\n"},
		{"auto waits", func(b *box) {
			b.write("uci/fstab", "stick.target=/mnt/no-such-stick\n")
			b.uci("main.enabled=1", "main.data_dir=auto")
		}, "err: not started: data_dir 'auto' waits for /mnt/no-such-stick, which /etc/config/fstab names and which is not mounted\n"},
		{"somebody else's directory", func(b *box) {
			b.write("srv/edgesync/photo.jpg", "")
		}, "err: not started: /srv/edgesync holds files that are not edgesync's; " +
			"choose a directory of its own, such as /srv/edgesync/edgesync\n"},
		{
			"a file in the way", func(b *box) { b.write("srv", "") },
			"err: not started: /srv/edgesync cannot be made; is the medium read-only or full?\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			c.prepare(b)
			b.do("edgesync.init", "start")
			if i := b.instance(); i != nil {
				t.Errorf("it started %v", i)
			}
			if got := b.read("log"); got != c.log {
				t.Errorf("log\n got %q\nwant %q", got, c.log)
			}
			for _, dir := range []string{"stick", "/mnt/no-such-stick"} {
				if _, err := os.Stat(dir); err == nil {
					t.Errorf("%s was made below an unmounted mount point", dir)
				}
			}
			// What was wrong may be mended: procd must call again.
			triggers, _ := service(b.calls())["triggers"].([]any)
			if len(triggers) != 2 {
				t.Errorf("triggers %v", triggers)
			}
		})
	}
}

func TestStartsOnAMountedStick(t *testing.T) {
	b := newBox(t)
	b.write("mounts", "overlayfs:/overlay / overlay rw 0 0\n/dev/sda1 "+b.dir+"/stick ext4 rw 0 0\n")
	b.write("stick/lost+found/x", "")
	b.write("uci/fstab", "stick.target="+b.dir+"/stick\n")
	b.uci("main.enabled=1", "main.data_dir="+b.dir+"/stick")
	b.start()
	if got := b.instance()["command"].([]any)[5]; got != "/stick" {
		t.Errorf("got %v", got)
	}
}

// TestMediumWithoutOwners holds that a medium without owners is told, and used.
func TestMediumWithoutOwners(t *testing.T) {
	b := newBox(t)
	b.write("nochown", "")
	b.do("edgesync.init", "start")
	if b.instance() == nil {
		t.Error("it did not start")
	}
	if got := b.read("log"); !strings.HasPrefix(got, "warn: /srv/edgesync cannot be given to the user edgesync; vfat") {
		t.Errorf("log %q", got)
	}
}

// TestWarnsOfTakenPorts holds that the log names who has a port: root sees that, and the agent may
// not.
func TestWarnsOfTakenPorts(t *testing.T) {
	b := newBox(t)
	b.agent(`printf 'data_dir   /srv/edgesync   default\n\nwarning: dns: no name\n  of that; wait\n'
		printf '\nwarning: mqtt.listen: :1883 is taken by mosquitto (process 812); stop that,\n  or set mqtt.listen to another port\n'
		printf '\nThe configuration is fine.\n'`)
	b.do("edgesync.init", "start")
	const want = "warn: mqtt.listen: :1883 is taken by mosquitto (process 812); stop that, or set mqtt.listen to another port\n"
	if got := b.read("log"); b.instance() == nil || got != want {
		t.Errorf("log\n got %q\nwant %q", got, want)
	}
}

// TestConfigurationIsReadable holds that the account may read a secret that root wrote, and that
// nobody else may. What is not root's, as when this test does not run as root, is left alone.
func TestConfigurationIsReadable(t *testing.T) {
	b := newBox(t)
	b.write("etc/edgesync/secret", "hidden")
	modes := map[string]os.FileMode{"etc/edgesync/secret": 0o600, "etc/edgesync": 0o700, "etc/edgesync/config.toml": 0o644}
	for name, mode := range modes {
		if err := os.Chmod(b.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	var want []string
	if os.Getuid() == 0 {
		modes["etc/edgesync/secret"], modes["etc/edgesync"] = 0o640, 0o750
		want = []string{"/etc/edgesync", "/etc/edgesync/secret"}
	}
	for name, mode := range modes {
		info, err := os.Stat(b.path(name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %o", name, info.Mode(), err, mode)
		}
	}
	var given []string
	for _, c := range b.calls() {
		if c[0] == "chown" && c[1] == "0:8078" {
			given = append(given, c[2])
		}
	}
	if !slices.Equal(given, want) {
		t.Errorf("the group was given %q, want %q", given, want)
	}
}

// TestPackageScripts runs the scripts of the packages with the functions that OpenWrt gives them.
func TestPackageScripts(t *testing.T) {
	standins, err := os.ReadFile("testdata/standins.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		script, env string
		calls       string
	}{
		{"ipk.postinst", "PKG_UPGRADE=0", "default_postinst\tipk.postinst\tconfigure\n"},
		{"ipk.postinst", "PKG_UPGRADE=1", "default_postinst\tipk.postinst\tconfigure\n"},
		{"ipk.postinst", "IPKG_NO_SCRIPT=1", ""},
		{"ipk.prerm", "PKG_UPGRADE=0", "default_prerm\tipk.prerm\tconfigure\n"},
		{"apk.post-install", "", "add_group_and_user\ndefault_postinst\n"},
		{"apk.post-install", "IPKG_NO_SCRIPT=1", ""},
		{"apk.post-upgrade", "", "add_group_and_user\ndefault_postinst\nupgrade 1\n"},
		{"apk.pre-deinstall", "", "default_prerm\n"},
	} {
		t.Run(c.script+" "+c.env, func(t *testing.T) {
			b := newBox(t)
			run := func() {
				t.Helper()
				cmd := exec.Command(busybox(t), "ash", c.script, "configure")
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BOX=" + b.dir, "IPKG_INSTROOT=" + b.dir, c.env}
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%v, and it printed %q", err, out)
				}
			}
			run() // without functions.sh, as on no OpenWrt: it does nothing
			if got := b.read("calls"); got != "" {
				t.Errorf("it called %q", got)
			}
			text := string(standins)
			if c.script == "apk.post-upgrade" {
				text += "default_postinst() { record default_postinst \"$@\"; echo \"upgrade $PKG_UPGRADE\" >>\"$BOX/calls\"; }\n"
			}
			b.write("lib/functions.sh", text+"default_status() { return 1; }\n")
			run()
			if got := b.read("calls"); got != c.calls {
				t.Errorf("it called %q, want %q", got, c.calls)
			}
		})
	}
}

// TestRoomForTheProgram holds that opkg is told before it unpacks that the program does not fit,
// and that the one which is installed runs on.
func TestRoomForTheProgram(t *testing.T) {
	text, err := os.ReadFile("ipk.preinst")
	if err != nil {
		t.Fatal(err)
	}
	const nand = "ubi0:rootfs_data /overlay ubifs rw 0 0\noverlayfs:/overlay / overlay rw 0 0\n"
	for _, c := range []struct {
		name, mounts, free, env string
		old                     bool
		printed, calls          string
	}{
		{"room on UBIFS", nand, "6144", "", true, "", ""},
		{
			"none on UBIFS", nand, "6143", "", false,
			"edgesync is not installed: the flash (ubifs) has 6143 KiB free, and the program needs 6144 KiB. Its data are untouched.\n", "",
		},
		{
			"none for an upgrade", "/dev/mtdblock5 /overlay jffs2 rw 0 0\noverlayfs:/overlay / overlay rw 0 0\n", "900", "", true,
			"edgesync is not installed: the flash (jffs2) has 900 KiB free, and the program needs 6144 KiB. Its data are untouched.\n" +
				"To upgrade: opkg remove edgesync (data and configuration stay), then install the new one; or build it into an image.\n",
			"enabled\nstart\n",
		},
		{
			"none where nothing is packed", "rootfs / rootfs rw 0 0\n/dev/root / ext4 rw 0 0\n", "7000", "", false,
			"edgesync is not installed: the flash (ext4) has 7000 KiB free, and the program needs 15360 KiB. Its data are untouched.\n", "",
		},
		{"unknown room", nand, "", "", true, "", ""},
		{"an image is built", nand, "0", "IPKG_INSTROOT=/image", false, "", ""},
		{"no scripts", nand, "0", "IPKG_NO_SCRIPT=1", false, "", ""},
		{"another destination", nand, "0", "PKG_ROOT=/mnt/usb/", false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			b.write("mounts", c.mounts)
			if c.old {
				b.write("init", "#!/bin/sh\necho \"$@\" >>\"$BOX/calls\"\n")
				if err := os.Chmod(b.path("init"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			b.write("preinst", "df() { echo heading; echo x 1 1 "+c.free+"; }\n"+
				strings.NewReplacer("/etc/init.d/edgesync", b.path("init"), "/proc/mounts", b.path("mounts")).Replace(string(text)))
			cmd := exec.Command(busybox(t), "ash", b.path("preinst"), "upgrade")
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BOX=" + b.dir, "PKG_ROOT=/", c.env}
			out, err := cmd.CombinedOutput()
			if string(out) != c.printed || (err != nil) != (c.printed != "") {
				t.Errorf("%v, printed %q, want %q", err, out, c.printed)
			}
			if got := b.read("calls"); got != c.calls {
				t.Errorf("it called %q, want %q", got, c.calls)
			}
		})
	}
}

// TestClockHook holds that only a clock that was set is a hint.
func TestClockHook(t *testing.T) {
	text, err := os.ReadFile("ntp.hotplug")
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t)
	b.write("init", "#!/bin/sh\necho \"$@\" >>\"$BOX/hints\"\n")
	if err := os.Chmod(b.path("init"), 0o755); err != nil {
		t.Fatal(err)
	}
	hook := strings.ReplaceAll(string(text), "/etc/init.d/edgesync", b.path("init"))
	for _, action := range []string{"step", "unsync", "periodic", "stratum", ""} {
		b.write("hook", "ACTION="+action+"\n"+hook)
		b.do(b.path("hook"), "true")
	}
	if got := b.read("hints"); got != "hint\n" {
		t.Errorf("hints %q, want one", got)
	}
}

// TestStartBesideAnAgent holds that a start which fails does not end an agent that runs: an upgrade
// by apk calls start, and procd ends a service of which it is told nothing.
func TestStartBesideAnAgent(t *testing.T) {
	for name, prepare := range map[string]func(*box){
		"wrong configuration": func(b *box) { b.agent(`echo "edgesync: wrong" >&2; exit 78`) },
		"damaged program":     func(b *box) { b.program("") },
		"unmounted stick":     func(b *box) { b.uci("main.enabled=1", "main.data_dir=/mnt/no-such-stick/edgesync") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.write("running", "")
			prepare(b)
			b.do("edgesync.init", "start")
			if calls := b.calls(); len(calls) != 0 {
				t.Errorf("procd was told %v", calls)
			}
			log := b.read("log")
			if !strings.HasPrefix(log, "err: not started: ") || !strings.HasSuffix(log, "\nwarn: the agent goes on as it was started\n") {
				t.Errorf("log %q", log)
			}
		})
	}
}

// TestRestartOfAWrongConfiguration holds that procd is told to call again, though it still lists
// the agent that was just stopped.
func TestRestartOfAWrongConfiguration(t *testing.T) {
	b := newBox(t)
	b.write("running", "")
	b.agent(`echo "edgesync: wrong" >&2; exit 78`)
	b.do("edgesync.init", "restart")
	if triggers, _ := service(b.calls())["triggers"].([]any); len(triggers) != 2 || b.instance() != nil {
		t.Errorf("procd was told %v", b.calls())
	}
	if got, want := b.read("log"), "err: not started: edgesync: wrong \n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// TestStartBehindAStop holds that an agent which was stopped a moment ago, as opkg does before an
// upgrade, is not taken for one that goes on: procd is told to call again. Once one has started, an
// agent that is listed goes on again.
func TestStartBehindAStop(t *testing.T) {
	b := newBox(t)
	b.write("running", "")
	b.do("edgesync.init", "stop")
	b.agent(`echo "edgesync: wrong" >&2; exit 78`)
	b.do("edgesync.init", "start")
	if triggers, _ := service(b.calls())["triggers"].([]any); len(triggers) != 2 || b.instance() != nil {
		t.Errorf("procd was told %v", b.calls())
	}
	if got, want := b.read("log"), "err: not started: edgesync: wrong \n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	b.agent("exit 0")
	b.start()
	b.agent(`echo "edgesync: wrong" >&2; exit 78`)
	b.do("edgesync.init", "start")
	if log := b.read("log"); !strings.HasSuffix(log, "\nwarn: the agent goes on as it was started\n") {
		t.Errorf("log %q", log)
	}
}

func TestReload(t *testing.T) {
	t.Run("runs on when the new configuration is wrong", func(t *testing.T) {
		b := newBox(t)
		b.write("running", "")
		b.agent(`echo "edgesync: wrong" >&2; exit 78`)
		b.do("edgesync.init", "reload")
		if calls := b.calls(); len(calls) != 0 {
			t.Errorf("procd was told %v", calls)
		}
		if got, want := b.read("log"), "err: not started: edgesync: wrong \nwarn: the agent goes on as it was started\n"; got != want {
			t.Errorf("log\n got %q\nwant %q", got, want)
		}
	})
	t.Run("hints, then starts", func(t *testing.T) {
		b := newBox(t)
		b.write("running", "")
		b.do("edgesync.init", "reload")
		if got, want := b.calls()[0], []string{"procd_send_signal", "edgesync", "*", "HUP"}; !slices.Equal(got, want) {
			t.Errorf("first %q, want %q", got, want)
		}
		if b.instance() == nil {
			t.Error("procd was not given the service")
		}
	})
	t.Run("stops when it was disabled", func(t *testing.T) {
		b := newBox(t)
		b.write("running", "")
		b.uci("main.enabled=0")
		b.do("edgesync.init", "reload")
		if i := b.instance(); i != nil {
			t.Errorf("it gave procd %v", i)
		}
		if got := b.read("log"); !strings.Contains(got, "enabled '0'") {
			t.Errorf("log %q", got)
		}
	})
}

func TestHint(t *testing.T) {
	b := newBox(t)
	b.do("edgesync.init", "hint")
	if calls := b.calls(); len(calls) != 0 {
		t.Errorf("nothing runs, and procd was told %v", calls)
	}
	b.write("running", "")
	b.do("edgesync.init", "hint")
	if got, want := b.calls(), [][]string{{"procd_send_signal", "edgesync", "*", "HUP"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatus(t *testing.T) {
	b := newBox(t)
	b.agent(`if [ "$1" = status ]; then echo "$@"; fi`)
	got := strings.ReplaceAll(b.do("edgesync.init", "status --json"), b.dir, "")
	if want := "status --config /etc/edgesync/config.toml --data_dir /srv/edgesync --json\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestScriptsAreClean lets shellcheck look at every script: busybox's shell knows local, and no
// more of bash than dash does.
func TestScriptsAreClean(t *testing.T) {
	scripts, err := filepath.Glob("*.p*")
	if err != nil || len(scripts) != 6 {
		t.Fatalf("scripts of packages: %q, %v", scripts, err)
	}
	scripts = append(scripts, "luci/postinst")
	args := append([]string{"-s", "dash", "-S", "warning", "-e", "SC3043,SC2034,SC1090,SC1091", "edgesync.init", "ntp.hotplug"}, scripts...)
	if out, err := exec.Command("shellcheck", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
