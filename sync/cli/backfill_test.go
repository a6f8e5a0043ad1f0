package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	agent "edgesync/sync"
)

// build makes the agents of the site processes of a program of their own: the test binary takes
// more memory, and one with the race detector much more.
func (s *site) build() {
	s.Helper()
	s.exe = filepath.Join(s.TempDir(), "edgesync")
	build := exec.Command("go", "build", "-tags", "grpcnotrace,nethttpomithttp2", "-ldflags", "-s -w", "-o", s.exe, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
}

// peak is the most memory that the agent has had, in bytes; 0 where the system does not say.
func (r *running) peak() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kib << 10
		}
	}
	return 0
}

// backfillRows are n rows of a logger that was offline, one a second, each with a text.
func backfillRows(n int, text string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"ts": %d, "values": {"t": 20.5, "h": 50, "p": 1000.1%s}}`, 1700000000000+1000*int64(i), text)
	}
	return b.String() + "]"
}

// A logger that was offline for a day and a half posts its rows as one body. Each is stored, and
// the rows that were answered for are there after a kill.
func TestBackfillOfADay(t *testing.T) {
	const rows = 20000
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.cloud.Stop()
	if code, head := post(r.http, "token-0", backfillRows(rows, "")); code != 200 {
		t.Fatalf("%d %v", code, head)
	}
	r.Kill()
	s.eventually("the rows after a kill", func() bool {
		var snap agent.Snapshot
		r = s.start()
		snap = r.snapshot()
		r.Kill()
		return snap.Pending >= rows && snap.Damaged == 0
	})
}

// objectMemory bounds the agent's memory while objects of several megabytes come, one after the
// other, in bytes.
const objectMemory = 48 << 20

// Four bodies of 16 MiB at once are stored in bounded memory, while the cloud takes what it can;
// objects that are not read in pieces take more, one at a time.
func TestFourBackfillsAtOnce(t *testing.T) {
	const size = 16 << 20
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.build()
	r := s.synced()
	before := r.peak()
	body := backfillRows(size/600, `, "note": "`+strings.Repeat("é", 250)+`"`)
	body += strings.Repeat(" ", max(0, size-len(body)))
	if len(body) != size {
		t.Fatalf("%d bytes", len(body))
	}
	at := func(what string, most int) {
		t.Helper()
		peak := r.peak()
		t.Logf("%s: at most %.1f MB, %.1f MB before", what, float64(peak)/1e6, float64(before)/1e6)
		if peak > most {
			t.Errorf("%s: %d bytes of memory, at most %d", what, peak, most)
		}
	}
	send := func(body string) (taken int) {
		var codes [4]int
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() { codes[i] = r.insist(fmt.Sprint("token-", i%2), body) })
		}
		wg.Wait()
		for _, code := range codes {
			if code == 200 {
				taken++
			} else if code != 503 {
				t.Errorf("%d", code)
			}
		}
		return taken
	}
	if n := send(body); n != 4 {
		t.Errorf("%d of four bodies were taken", n)
	}
	at("four bodies at once", hostileMemory)
	if n := r.snapshot().Accepted; n < 4*size/600 {
		t.Errorf("%d events were accepted", n)
	}
	var object strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&object, `,"key%d":"%s"`, i, strings.Repeat("x", 120))
	}
	if n := send("{" + object.String()[1:] + "}"); n == 0 {
		t.Error("no large object was taken")
	}
	at("four large objects at once", objectMemory)
}
