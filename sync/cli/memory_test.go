//go:build !race

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The tests named TestMemory measure a process that is built as it is shipped. The race detector
// would see nothing of the process, and would slow down the cloud in the test many times, so `make
// memory` runs these tests without the race detector.

// build makes the program as it is shipped, once: the test binary holds more.
var build = sync.OnceValues(func() (exe string, err error) {
	exe, err = filepath.Abs(filepath.Join("..", "..", "build", "memory", "edgesync"))
	if err != nil {
		return "", err
	}
	build := exec.Command("make", "-C", "../..", "build", "OUT="+exe)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return exe, nil
})

func builtAgent(t *testing.T) (exe string) {
	t.Helper()
	exe, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// memory reads a line of /proc/PID/status, in bytes: VmRSS, or VmHWM, the most it ever was.
func (r *running) memory(line string) int {
	r.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		r.Fatal(err)
	}
	for l := range bytes.Lines(text) {
		if f := bytes.Fields(l); len(f) == 3 && string(f[0]) == line+":" {
			n, err := strconv.Atoi(string(f[1]))
			if err != nil {
				r.Fatal(err)
			}
			return n << 10
		}
	}
	r.Fatalf("no %s in\n%s", line, text)
	return 0
}

// objectMemory bounds the agent's memory while objects of several megabytes come, one after the
// other, in bytes.
const objectMemory = 48 << 20

// Four bodies of 16 MiB at once are stored in bounded memory, while the cloud takes what it can;
// objects that are not read in pieces take more, one at a time.
func TestMemoryOfFourBackfills(t *testing.T) {
	const size = 16 << 20
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.exe = builtAgent(t)
	r := s.synced()
	before := r.memory("VmHWM")
	body := backfillRows(size/600, `, "note": "`+strings.Repeat("é", 250)+`"`)
	body += strings.Repeat(" ", max(0, size-len(body)))
	if len(body) != size {
		t.Fatalf("%d bytes", len(body))
	}
	at := func(what string, most int) {
		t.Helper()
		peak := r.memory("VmHWM")
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
	at("four bodies at once", oneBound)
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
