package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"edgesync/sync/config"
	"edgesync/sync/doctor"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// question is a key that setup asks for.
type question struct {
	path, text string
	must       bool // there is no answer by default
}

var questions = []question{
	{"cloud.host", "Name or address of the ThingsBoard server", true},
	{"cloud.port", "Port of its gRPC service for edges", false},
	{"cloud.tls.enabled", "Encrypt the link to it (TLS): true or false", false},
	{"cloud.routing_key", "Key of this edge (Edge management, Instances, this edge, \"Copy edge key\")", true},
	{"cloud.routing_secret", "Secret of this edge (\"Copy edge secret\"; it is not shown)", true},
	{"http.listen", "Address for devices over HTTP; off: none", false},
	{"mqtt.listen", "Address for devices over MQTT; off: none", false},
}

// stateDir is data_dir of the service under systemd, and the usual place elsewhere.
const stateDir = "/var/lib/edgesync"

// answerTries is how often a wrong answer is asked for again.
const answerTries = 5

// setup is one call of `edgesync setup`. One goroutine owns it.
type setup struct {
	*program
	lines    *bufio.Reader
	settings config.Flags
	place    config.Place
	service  bool // the place is where the machine's service looks
	secret   string
}

func (p *program) setupCommand(ctx context.Context, args []string) int {
	s := &setup{program: p, lines: bufio.NewReader(io.LimitReader(p.stdin, 64<<10)), place: config.DefaultPlace(), service: true}
	var form string
	var stdin, noTest, noService bool
	t := p.newTool("setup", "")
	t.flags.StringVar(&form, "form", "", "")
	t.flags.BoolVar(&stdin, "secret-stdin", false, "")
	t.flags.BoolVar(&noTest, "no-test", false, "")
	t.flags.BoolVar(&noService, "no-service", false, "")
	if _, code, done := t.parse(args, 0); done {
		return code
	}
	s.settings = t.settings
	if file := s.settings.File(); file != "" {
		s.place = config.Place{File: file, Secret: filepath.Join(filepath.Dir(file), "secret")}
		s.service = false
	}
	switch form {
	case "":
	case "uci", "toml":
		if s.place.UCI = form == "uci"; s.service {
			s.place = config.PlaceOf(s.place.UCI)
		}
	default:
		return p.usage("setup", "--form is uci or toml")
	}
	if _, err := os.Stat(s.place.File); s.service && !s.place.UCI && err != nil && !s.settings.Has("data_dir") {
		s.settings.Set("data_dir", stateDir)
	}
	if stdin {
		line, _ := s.lines.ReadString('\n')
		s.secret, s.interactive = strings.TrimSpace(line), false
	}
	l, err := s.answers()
	if err != nil {
		var missing missingError
		if errors.As(err, &missing) {
			return p.usage("setup", err.Error())
		}
		return p.fail(err)
	}
	if !noTest {
		if code := s.test(ctx, l); code != exitOK {
			return code
		}
	}
	if err := s.write(l); err != nil {
		return p.fail(err)
	}
	if s.service && !noService {
		return s.enable()
	}
	fmt.Fprintf(p.stdout, "Run it: edgesync run --config %s\n", s.place.File)
	return exitOK
}

// missingError is what nobody has said, where there is nobody to ask.
type missingError struct{ text string }

func (e missingError) Error() string { return e.text }

// load is the configuration as it would be written: what stood in the file, what was answered, and
// flags.
func (s *setup) load() (*config.Loaded, error) {
	s.settings.UseFile("")
	if _, err := os.Stat(s.place.File); err == nil {
		s.settings.UseFile(s.place.File)
	}
	return complete(&s.settings, s.env)
}

// answers asks for what flags do not say. What the file says already is the answer by default.
func (s *setup) answers() (*config.Loaded, error) {
	l, _ := s.load()
	var missing []string
	for _, q := range questions {
		isSecret := q.path == "cloud.routing_secret"
		has := s.settings.Has(q.path)
		switch {
		case isSecret && s.secret != "":
			s.settings.Set(q.path, s.secret)
			s.settings.Set("cloud.routing_secret_file", "")
			continue
		case isSecret && s.settings.Has("cloud.routing_secret_file"):
			s.settings.Set(q.path, "")
			continue
		case has:
			if isSecret {
				s.settings.Set("cloud.routing_secret_file", "")
			}
			continue
		}
		def := ""
		for _, v := range l.Values() {
			if v.Key == q.path && !(q.must && v.Source == "default") {
				def = v.Value
			}
		}
		if !s.interactive {
			if q.must && def == "" {
				missing = append(missing, "--"+q.path)
			}
			continue
		}
		answer, err := s.ask(&q, def, isSecret)
		if err != nil {
			return nil, err
		}
		if isSecret && answer == "" {
			continue // the one that is there
		}
		s.settings.Set(q.path, answer)
		if isSecret {
			s.settings.Set("cloud.routing_secret_file", "")
		}
	}
	if missing != nil {
		return nil, missingError{"there is no terminal to ask on; say " + strings.Join(missing, ", ") +
			" (the secret rather by --secret-stdin or --cloud.routing_secret_file)"}
	}
	return s.load()
}

// ask asks until the answer is one.
func (s *setup) ask(q *question, def string, hidden bool) (string, error) {
	for range answerTries {
		shown := def
		if def == "" && strings.HasSuffix(q.path, ".listen") {
			shown = "off"
		}
		if shown != "" {
			shown = " [" + shown + "]"
		}
		fmt.Fprintf(s.stderr, "%s%s: ", q.text, shown)
		show := func() {}
		if hidden {
			show = hideTyping(s.stdin)
		}
		line, err := s.lines.ReadString('\n')
		show()
		if hidden {
			fmt.Fprintln(s.stderr)
		}
		answer := strings.TrimSpace(line)
		switch {
		case err != nil && answer == "":
			return "", errUnanswered
		case answer == "" && hidden && def != "":
			return "", nil
		case answer == "":
			answer = def
		case answer == "off" && strings.HasSuffix(q.path, ".listen"):
			answer = ""
		}
		err = config.Check(q.path, answer)
		if err == nil && q.must && answer == "" {
			err = errors.New("must not be empty")
		}
		if err == nil {
			return answer, nil
		}
		fmt.Fprintf(s.stderr, "  This %v.\n", err)
	}
	return "", errUnanswered
}

// test tries the link to the cloud. Somebody at a terminal may go on without it.
func (s *setup) test(ctx context.Context, l *config.Loaded) int {
	fmt.Fprintln(s.stdout, "Testing the link to the cloud (--no-test leaves it out) …")
	o := doctor.Options{Loaded: l, Version: s.full(), Built: s.Commit, Brief: true}
	if a, err := status.Fetch(l.Config.DataDir); err == nil && a.Running {
		o.Watch = -1 // its session ends, and it comes back: it is no other agent with this key
	}
	secret := l.Config.Cloud.RoutingSecret // report tries the one that came from the cloud
	code := s.report(ctx, o, false)
	l.Config.Cloud.RoutingSecret = secret
	if code == exitOK || ctx.Err() != nil {
		return code
	}
	if s.interactive {
		fmt.Fprint(s.stderr, "There is no link. Type yes to write the configuration all the same: ")
		if line, _ := s.lines.ReadString('\n'); strings.TrimSpace(line) == "yes" {
			return exitOK
		}
	}
	fmt.Fprintln(s.stderr, "edgesync: nothing was written.")
	return code
}

// write writes the secret, then the configuration. What stood there before is kept beside it.
func (s *setup) write(l *config.Loaded) error {
	if err := os.MkdirAll(filepath.Dir(s.place.File), 0o755); err != nil {
		return err
	}
	secret := l.Config.Cloud.RoutingSecret
	switch kept := l.Config.Cloud.RoutingSecretFile; {
	case kept != "": // it stands there already
		s.place.Secret = kept
	default:
		path, err := filepath.Abs(s.place.Secret) // the agent is started elsewhere
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if err != nil {
			return err
		}
		s.place.Secret = path
		if err := s.put(s.place.Secret, []byte(secret+"\n")); err != nil {
			return err
		}
		fmt.Fprintf(s.stdout, "The secret is in %s.\n", s.place.Secret)
	}
	text := l.Render(s.place)
	if old, err := disk.ReadRegular(s.place.File, 1<<20); err == nil && !bytes.Equal(old, text) {
		before := s.place.Before()
		if err := s.put(before, old); err != nil {
			return err
		}
		fmt.Fprintf(s.stdout, "What stood in %s is in %s.\n", s.place.File, before)
	}
	if err := s.put(s.place.File, text); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "The configuration is in %s.\n", s.place.File)
	return nil
}

// put writes a file that its owner alone may read; and the group of the service, where systemd runs
// the agent as a user of its own. On OpenWrt the init script does that.
func (s *setup) put(name string, text []byte) error {
	if err := disk.Replace(name, text); err != nil {
		return fmt.Errorf("write %s: %w", strconv.Quote(name), err)
	}
	if gid := groupOf("edgesync"); s.service && !s.place.UCI && os.Geteuid() == 0 && gid > 0 {
		return errors.Join(os.Chown(name, 0, gid), os.Chmod(name, 0o640))
	}
	return nil
}

// groupOf is the number of a group of this machine; -1 if there is none.
func groupOf(name string) int {
	text, _ := disk.ReadRegular("/etc/group", 1<<20)
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[0] == name {
			if n, err := strconv.Atoi(f[2]); err == nil {
				return n
			}
		}
	}
	return -1
}

// managers are the programs that manage services: what is there where they do, and what they are
// told.
var managers = []struct {
	mark     string
	commands [][]string
}{
	{"/etc/init.d/edgesync", [][]string{{"/etc/init.d/edgesync", "enable"}, {"/etc/init.d/edgesync", "restart"}}},
	{"/run/systemd/system", [][]string{{"/usr/bin/systemctl", "enable", "--now", "edgesync"}, {
		"/usr/bin/systemctl",
		"try-restart", "edgesync",
	}}},
}

// enable has the service of this machine run, now and at each start.
func (s *setup) enable() int {
	for _, m := range managers {
		if _, err := os.Stat(m.mark); err != nil {
			continue
		}
		for _, command := range m.commands {
			if err := s.execute(command); err != nil {
				return s.fail(fmt.Errorf("the configuration is written; %s: %w", strings.Join(command, " "), err))
			}
		}
		fmt.Fprintf(s.stdout, "The service is enabled and runs (%s). Ask it: edgesync status\n", m.commands[0][0])
		return exitOK
	}
	fmt.Fprintln(s.stdout, "There is no service of edgesync on this machine. Run it: edgesync run")
	return exitOK
}

// execute runs a program with the output of this one, and waits for it.
func (s *setup) execute(command []string) error {
	p, err := os.StartProcess(command[0], command, &os.ProcAttr{Env: s.env, Files: []*os.File{nil, os.Stderr, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	return err
}

// hideTyping has a terminal not show what is typed; the function that it returns, or the end by
// Ctrl-C, shows it again.
func hideTyping(r io.Reader) (show func()) {
	f, ok := r.(*os.File)
	var before syscall.Termios
	if !ok || termios(f, false, &before) != nil {
		return func() {}
	}
	silent := before
	silent.Lflag &^= syscall.ECHO
	if termios(f, true, &silent) != nil {
		return func() {}
	}
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			_ = termios(f, true, &before)
			os.Exit(exitFailed)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		_ = termios(f, true, &before)
	}
}
