package cli

import (
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edgesync/sync/config"
)

// exceptFree finds what others on the machine change: the room that is free.
var exceptFree = regexp.MustCompile(`[0-9.]+ [KMG]iB of [0-9.]+ [KMG]iB free|auto +[0-9.]+ [KMG]iB`)

// Every flag of the configuration takes its value behind "=" or as the next argument, with one dash
// or two, in every command.
func TestFlagsTakeTheirValueBothWays(t *testing.T) {
	values := map[string]string{
		"cloud.host": "tb.example", "cloud.port": "7171", "cloud.tls.enabled": "true", "log.level": "warn",
		"queue.max_bytes": "64MiB", "http.listen": "", "registry.keep": "images", "keepalive.time": "45s",
		"cloud.routing_key": "-dash", "cloud.routing_secret": "--hush", "mqtt.map": `[{filter = "a/+/b", device = 1}]`,
	}
	var joint, apart, single []string
	for name, value := range values {
		joint = append(joint, "--"+name+"="+value)
		apart = append(apart, "--"+name, value)
		single = append(single, "-"+name, value)
	}
	_, want, _ := call(t, nil, append([]string{"check"}, joint...)...)
	if !strings.Contains(want, "tb.example") || !strings.Contains(want, "7171") || strings.Contains(want, "hush") {
		t.Fatalf("%s", want)
	}
	for _, args := range [][]string{apart, single} {
		code, out, errs := call(t, nil, append([]string{"check"}, args...)...)
		if code != exitOK || exceptFree.ReplaceAllString(out, "") != exceptFree.ReplaceAllString(want, "") {
			t.Errorf("%d, %s\n%s\nwant %s", code, errs, out, want)
		}
	}
	// All of them, in all commands: no value is taken for an argument.
	var settings config.Flags
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	settings.Register(fs)
	dir := makeQueue(t)
	n := 0
	fs.VisitAll(func(f *flag.Flag) {
		n++
		value := "x"
		if isSwitch(f) {
			value = "false"
		}
		for _, command := range []string{
			"run", "check", "status", "wal stat", "wal dump", "wal verify", "wal repair",
			"dead list", "dead show", "dead retry", "dead drop",
		} {
			fs := flag.NewFlagSet(command, flag.ContinueOnError)
			(&config.Flags{}).Register(fs)
			got, what := arrange(fs, []string{"--" + f.Name, value}, nil, 0)
			if want := []string{"--" + f.Name + "=" + value, "--"}; what != "" || !slices.Equal(got, want) {
				t.Errorf("%s --%s %s: %q, %s", command, f.Name, value, got, what)
			}
		}
	})
	if n < 40 {
		t.Errorf("%d flags", n)
	}
	for _, args := range []string{
		"wal dump --data_dir DIR --limit 1", "wal dump -limit 1 -data_dir DIR --json true", "wal dump --json=yes --data_dir DIR",
		"wal stat --segments on --data_dir DIR", "wal verify --dir DIR/queue", "dead list --json no --data_dir DIR",
		"dead list --data_dir=DIR --json 0",
		"wal dump --pending off --all 1 --data_dir DIR", "wal stat --json=off --data_dir DIR",
	} {
		code, out, errs := call(t, nil, strings.Fields(strings.ReplaceAll(args, "DIR", dir))...)
		if code != exitOK || errs != "" {
			t.Errorf("%s: %d, %.200s, %s", args, code, out, errs)
		}
	}
}

// What is wrong with the arguments is said with the name of the flag, or with the number of the
// argument: its text may be a secret.
func TestWrongArgumentsAreNamed(t *testing.T) {
	dir := makeQueue(t)
	for _, c := range []struct{ args, want string }{
		{"run --cloud.host", "--cloud.host needs a value: write --cloud.host=value"},
		{"run -cloud.host", "--cloud.host needs a value: write --cloud.host=value"},
		{"status --json --data_dir", "--data_dir needs a value"},
		{"wal dump --limit", "--limit needs a value"},
		{
			"check --cloud.host --cloud.port 7070",
			"--cloud.host needs a value, and the flag --cloud.port follows: write --cloud.host=value",
		},
		{"wal dump --since --json", "--since needs a value, and the flag --json follows"},
		{"run --cloud.routing_secret = hush", "--cloud.routing_secret: write --cloud.routing_secret=value, without blanks around the ="},
		{"run --cloud.routing_secret =hush", "--cloud.routing_secret: write --cloud.routing_secret=value, without blanks around the ="},
		{
			"run --cloud.routing_secret= hush",
			`argument 2 of "edgesync run", behind --cloud.routing_secret, is no flag, and an argument too many; write --name=value without`,
		},
		{"check hush", `argument 1 of "edgesync check" is no flag`},
		{"status --json hush", `argument 2 of "edgesync status", behind --json, is no flag`},
		{"status --watch 5", `argument 2 of "edgesync status", behind --watch, is no flag`},
		{"run --cloud.tls.enabled maybe", `argument 2 of "edgesync run", behind --cloud.tls.enabled, is no flag`},
		{"run --log.level warn hush", `argument 3 of "edgesync run", behind --log.level, is no flag`},
		{"run -- hush", `argument 2 of "edgesync run" is no flag`},
		{"run -", `argument 1 of "edgesync run" is no flag`},
		{"run cloud.host=hush", `argument 1 of "edgesync run" is no flag; did you mean --cloud.host?`},
		{"run cloud.routing_secret hush", `argument 1 of "edgesync run" is no flag; did you mean --cloud.routing_secret?`},
		{"run –cloud.host=hush", `argument 1 of "edgesync run" begins with a dash that is not the keyboard's: write --cloud.host`},
		{"run —cloud.hots=hush", `argument 1 of "edgesync run" begins with a dash that is not the keyboard's: write --name=value`},
		{"wal stat --json hush", `argument 2 of "edgesync wal stat", behind --json, is no flag, and an argument too many; write`},
		{"dead drop 1 2", `argument 2 of "edgesync dead drop" is no flag, and an argument too many`},
		{"run --cloud.prot 5", "unknown flag --cloud.prot; did you mean --cloud.port?"},
		{"run -cloud.prot=5", "unknown flag --cloud.prot; did you mean --cloud.port?"},
		{"run --cloud.routing_secret:hush", "unknown flag --cloud.routing_secret…; did you mean --cloud.routing_secret?"},
		{"run --cloud.routing_secrethush", "unknown flag --cloud.routing_secret…; did you mean --cloud.routing_secret?"},
		{"run --cloud.routing_secret_hush", "unknown flag --cloud.routing_secret…; did you mean --cloud.routing_secret_file?"},
		{"run ---cloud.routing_secret=hush", "a flag begins with two dashes: write --cloud.routing_secret=value"},
		{"run ---cloud.hots=hush", "a flag begins with two dashes: write --name=value"},
		{"run --=hush", "a flag needs a name: write --name=value"},
		{"status --jsno", "unknown flag --jsno; did you mean --json?"},
		{"wal dump --limit hush-not", "invalid value"},
		{"status --json=hush-not", "invalid boolean value"},
	} {
		code, out, errs := call(t, nil, append(strings.Fields(c.args), "--data_dir="+dir)[:max(1, len(strings.Fields(c.args)))]...)
		if code != exitUsage || out != "" || !strings.Contains(errs, "edgesync: "+c.want) {
			t.Errorf("%s: %d, %q %q", c.args, code, out, errs)
		}
		if strings.Contains(strings.ReplaceAll(errs, "hush-not", ""), "hush") || !strings.Contains(errs, `Run "edgesync help `) {
			t.Errorf("%s shows an argument, or no help: %q", c.args, errs)
		}
	}
	// A dead letter's offset is an argument, also behind a switch.
	for _, args := range []string{"--json 7", "7 --json", "--json true 7", "--json=on -- 7", "-- 7"} {
		code, _, errs := call(t, nil, append([]string{"dead", "show", "--data_dir", dir}, strings.Fields(args)...)...)
		if code != exitFailed || !strings.Contains(errs, "7") {
			t.Errorf("%s: %d, %s", args, code, errs)
		}
	}
}

// However arguments are written, arranging them ends, and what is said about them shows nothing of
// them but names of flags.
func FuzzArguments(f *testing.F) {
	f.Add("--cloud.routing_secret\x00SECRET")
	f.Add("--cloud.host\x00=\x00SECRET\x00--\x00--json\x00on")
	f.Add("---SECRET\x00-\x00--=SECRET")
	f.Add("--cloud.routing_secretSECRET")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		fs := flag.NewFlagSet("status", flag.ContinueOnError)
		(&config.Flags{}).Register(fs)
		fs.Bool("json", false, "")
		got, what := arrange(fs, args, []string{"json"}, 1)
		if what == "" && (len(got) > len(args)+1 || !slices.Contains(got, "--") && !slices.ContainsFunc(got, isHelp)) {
			t.Fatalf("%q became %q", args, got)
		}
		names := ""
		for _, a := range args {
			if name, _, _ := strings.Cut(a, "="); strings.HasPrefix(a, "-") {
				names += name
			}
		}
		if strings.Contains(what, "SECRET") && !strings.Contains(names, "SECRET") {
			t.Fatalf("%q: %s", args, what)
		}
	})
}
