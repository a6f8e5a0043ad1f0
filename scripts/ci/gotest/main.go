// Command gotest runs go test with the arguments given and says what it does: a line for each
// package that is done, the output of tests that fail, what runs when nothing has been said for
// half a minute, and at the end how many tests passed and which were skipped, with their reasons.
//
// In CI, where the variable CI is set, a skipped test is a failure unless the file skips.txt beside
// this program allows its reason. With -emulated the reasons of emulated processors count too.
package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// skips lists the reasons for which a test may be skipped in CI.
//
//go:embed skips.txt
var skips string

// silence is how long nothing is printed before the tests that run are named.
const silence = 30 * time.Second

func main() {
	emulated := flag.Bool("emulated", false, "the tests run on an emulated processor")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: gotest [-emulated] -- ARGUMENTS OF go test")
		flag.PrintDefaults()
	}
	flag.Parse()
	os.Exit(run(flag.Args(), *emulated))
}

func run(args []string, emulated bool) int {
	r := newReport(os.Stdout, time.Now())
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		return 1
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				r.stillRunning(now)
			case <-done:
				return
			}
		}
	}()
	r.read(out)
	err = cmd.Wait()
	close(done)
	refused := r.end(allowed(skips, emulated), os.Getenv("CI") != "")
	if err != nil || refused {
		return 1
	}
	return 0
}

// read takes the events of go test -json until their end. Lines that are no event are passed on.
func (r *report) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				e = event{Action: "build-output", Output: line}
			}
			r.take(&e, time.Now())
		}
		if err != nil {
			return
		}
	}
}

// event is one of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// report collects what the tests say. Its methods may be called from any goroutine.
type report struct {
	mu      sync.Mutex
	out     io.Writer
	began   time.Time
	spoke   time.Time // when something was printed last
	running map[string][]string
	said    map[string]*strings.Builder // by package and test: output that is printed if it fails
	passed  int
	failed  []string
	skipped []skip
}

type skip struct{ test, reason string }

// maxSaid bounds what is kept of the output of one test, in bytes.
const maxSaid = 256 << 10

func newReport(out io.Writer, now time.Time) *report {
	return &report{out: out, began: now, spoke: now, running: map[string][]string{}, said: map[string]*strings.Builder{}}
}

// print writes a line. The lock is held.
func (r *report) print(now time.Time, format string, args ...any) {
	fmt.Fprintf(r.out, format+"\n", args...)
	r.spoke = now
}

func (r *report) take(e *event, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimSpace(e.Package + " " + e.Test)
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
		r.spoke = now
	case "start":
		r.running[e.Package] = nil
	case "run":
		r.running[e.Package] = append(r.running[e.Package], e.Test)
	case "output":
		b := r.said[name]
		if b == nil {
			b = new(strings.Builder)
			r.said[name] = b
		}
		if b.Len() < maxSaid {
			b.WriteString(e.Output)
		}
	case "pass", "fail", "skip":
		text := ""
		if b := r.said[name]; b != nil {
			text = b.String()
		}
		delete(r.said, name)
		if e.Test == "" {
			r.packageEnds(e, text, now)
		} else {
			r.testEnds(e, text, now)
		}
	}
}

func (r *report) testEnds(e *event, text string, now time.Time) {
	for i, t := range r.running[e.Package] {
		if t == e.Test {
			r.running[e.Package] = append(r.running[e.Package][:i], r.running[e.Package][i+1:]...)
			break
		}
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed = append(r.failed, e.Package+" "+e.Test)
		r.print(now, "%s%s", text, indent(e.Package))
	case "skip":
		r.skipped = append(r.skipped, skip{e.Package + " " + e.Test, reasonOf(text)})
	}
}

func indent(pkg string) string { return "        in " + pkg }

func (r *report) packageEnds(e *event, text string, now time.Time) {
	unfinished := r.running[e.Package] // of a package that panicked, ran out of time or was killed
	delete(r.running, e.Package)
	for _, test := range unfinished {
		if b := r.said[e.Package+" "+test]; b != nil {
			text = b.String() + text
			delete(r.said, e.Package+" "+test)
		}
		r.failed = append(r.failed, e.Package+" "+test+" did not end")
	}
	switch e.Action {
	case "pass":
		r.print(now, "ok    %s  %.1f s", e.Package, e.Elapsed)
	case "fail":
		r.failed = append(r.failed, e.Package)
		r.print(now, "%sFAIL  %s  %.1f s", text, e.Package, e.Elapsed)
	} // skip: a package without tests
}

// reasonOf is why a test was skipped: the first line that is neither a mark of go test nor empty,
// without the place in the source.
func reasonOf(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		for { // a test that ran in another process has two places in front
			place, rest, ok := strings.Cut(line, ": ")
			if !ok || !strings.Contains(place, ".go:") {
				return line
			}
			line = rest
		}
	}
	return "no reason given"
}

// stillRunning names what runs, if nothing has been printed for a while.
func (r *report) stillRunning(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.spoke) < silence {
		return
	}
	var what []string
	for pkg, tests := range r.running {
		if len(tests) > 0 { // the innermost one
			pkg += " " + tests[len(tests)-1]
		}
		what = append(what, pkg)
	}
	const most = 4
	if len(what) > most {
		what = append(what[:most], fmt.Sprintf("and %d more", len(what)-most))
	}
	if len(what) == 0 {
		what = []string{"compiling"}
	}
	r.print(now, "      %s: %s", now.Sub(r.began).Round(time.Second), strings.Join(what, ", "))
}

// end prints the summary. refused: strict, and a test was skipped for a reason that may is false
// for.
func (r *report) end(may func(reason string) bool, strict bool) (refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.print(now, "%d tests passed, %d failed, %d were skipped in %s",
		r.passed, len(r.failed), len(r.skipped), now.Sub(r.began).Round(time.Second))
	for _, f := range r.failed {
		r.print(now, "  failed   %s", f)
	}
	for _, s := range r.skipped {
		word := "skipped"
		if !may(s.reason) {
			word = "SKIPPED"
			refused = strict
		}
		r.print(now, "  %s  %s: %s", word, s.test, s.reason)
	}
	if refused {
		r.print(now, "gotest: in CI no test may be skipped for a reason that scripts/ci/gotest/skips.txt does not list")
	}
	return refused
}

// allowed reads the list of reasons: one a line, the beginning of it. "emulated:" in front limits a
// reason to emulated processors.
func allowed(list string, emulated bool) func(reason string) bool {
	var starts []string
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		start, only := strings.CutPrefix(line, "emulated: ")
		if !only || emulated {
			starts = append(starts, start)
		}
	}
	return func(reason string) bool {
		for _, s := range starts {
			if strings.HasPrefix(reason, s) {
				return true
			}
		}
		return false
	}
}
