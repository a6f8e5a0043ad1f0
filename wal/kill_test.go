package wal

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

var kills = flag.Int("kills", 0, "rounds of TestKill; 0 = 120, or 6 on an emulated machine")

const (
	killDir     = "EDGESYNC_TEST_KILL_DIR"
	killMode    = "EDGESYNC_TEST_KILL_MODE"
	killWriters = 16
	killWindow  = 100 // events that the child delivers before it commits
)

// The kinds of queue that a child may open.
const (
	killPlain = iota
	killSmall // a segment holds a few groups
	killThin  // a slow reader, a quota, and the policy to thin
	killModes
	killOffline = killModes // as killPlain, without a cloud: nothing is committed
)

func killOptions(mode int, dir string) Options {
	o := testOptions(dir)
	o.besideFrom = killWriters / 4
	switch o.SegmentSize = 16 << 10; mode {
	case killSmall:
		o.SegmentSize = 1024
	case killPlain, killOffline:
		o.Fill = true
	case killThin:
		o.SegmentSize, o.MaxBytes, o.Policy = 4096, 48<<10, Thin
		o.Series = func(kind, _ uint8, _ []byte) (uint64, bool) { return uint64(kind % 2), kind < 56 }
	}
	return o
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		mode, _ := strconv.Atoi(os.Getenv(killMode))
		killChild(dir, mode)
	}
	os.Exit(m.Run())
}

// killChild appends with many writers and commits what it reads until it is killed. It reports on
// its standard output, each report with two numbers: 'a' an event that was accepted; 'd' an event
// that the cloud got, and how many events were accepted up to it; 'c' how many events are
// committed, and how many of them durably.
func killChild(dir string, mode int) {
	q, err := Open(killOptions(mode, dir))
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(3)
	}
	var mu sync.Mutex
	report := func(kind byte, n, m uint64) {
		b := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{kind}, n), m)
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.Write(b)
	}
	base := q.Stats().Accepted << 8 // no number twice
	for w := range uint64(killWriters) {
		go func() {
			for n := base<<4 + w; ; n += killWriters {
				if err := q.Append(context.Background(), testEvent(n)); err != nil {
					os.Stderr.WriteString(err.Error())
					os.Exit(3)
				}
				report('a', n, 0)
			}
		}()
	}
	if mode == killOffline {
		select {}
	}
	r := q.Reader()
	wakes := 0
	for range q.Wake() {
		if wakes++; mode == killThin && wakes%16 != 0 {
			continue
		}
		count := uint64(0)
		if err := r.Read(func(e *Entry) bool {
			if count == killWindow {
				return false
			}
			report('d', binary.LittleEndian.Uint64(e.Fragment), e.Seq)
			count++
			return true
		}); err != nil {
			os.Exit(3)
		}
		q.Commit(r.Position(), count, 0)
		durable := q.DurablyCommitted().Seq
		report('c', max(durable, r.Position().Seq), durable)
	}
}

// killed is what the parent knows of a directory over all rounds.
type killed struct {
	dir       string
	acked     map[uint64]bool
	delivered map[uint64]int
	again     int // most events that may have been delivered twice
}

// Accepted means durable: SIGKILL at any moment loses no acknowledged event, and each writer's
// events stay in order. What the cloud gets twice after a kill is at most one window, and what was
// acknowledged since the newest durable control frame or committed file (doc.go, "Committed file"
// and rows C1 to C7).
func TestKill(t *testing.T) {
	rounds := *kills
	switch {
	case rounds > 0:
	case runtime.GOARCH == "arm" || runtime.GOARCH == "mipsle":
		rounds = 6
	case testing.Short():
		rounds = 6
	default:
		rounds = 120
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all [killModes]killed
	for i := range all {
		all[i] = killed{dir: filepath.Join(memDir(t), "queue"), acked: make(map[uint64]bool), delivered: make(map[uint64]int)}
	}
	for round := range rounds {
		mode := round % killModes
		k := &all[mode]
		child := exec.Command(exe)
		child.Env = append(os.Environ(), killDir+"="+k.dir, killMode+"="+strconv.Itoa(mode))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Skipf("a child process cannot be started here: %v", err)
		}
		after := 50 + rand.IntN(800) // reports
		in := bufio.NewReader(out)
		var rec [17]byte
		var delivered, committed, durable uint64 // seqs
		seqs := make(map[uint64]bool)
		for i := 0; ; i++ {
			if i == after {
				child.Process.Kill()
			}
			if _, err := io.ReadFull(in, rec[:]); err != nil {
				break
			}
			n, m := binary.LittleEndian.Uint64(rec[1:]), binary.LittleEndian.Uint64(rec[9:])
			switch rec[0] {
			case 'a':
				k.acked[n] = true
			case 'd':
				k.delivered[n]++
				delivered, seqs[m] = m, true
			case 'c':
				committed, durable = n, m
			}
		}
		if state := child.Wait(); state == nil || child.ProcessState.ExitCode() == 3 {
			t.Fatalf("round %d: the child ended by itself: %v", round, state)
		}
		s, err := Inspect(k.dir)
		if err != nil {
			t.Fatal(err)
		}
		checkIdentity(t, s)
		if s.Damaged != 0 || s.Dropped != 0 && mode != killThin {
			t.Fatalf("round %d: %+v", round, s)
		}
		q := openQueue(t, killOptions(mode, k.dir))
		c := q.Committed().Seq
		closeQueue(t, q)
		if c < durable {
			t.Fatalf("round %d: %d events are committed after the kill, durably were %d", round, c, durable)
		}
		again := 0
		for seq := range seqs {
			if seq > c {
				again++
			}
		}
		if bound := killWindow + committed - durable; uint64(again) > bound {
			t.Fatalf("round %d: %d events are sent again: delivered up to %d, committed %d, durably %d",
				round, again, delivered, committed, durable)
		}
		k.again += again
	}
	for mode := range all {
		k := &all[mode]
		if len(k.acked) == 0 {
			continue
		}
		q := openQueue(t, killOptions(mode, k.dir))
		checkInspect(t, q)
		last := make(map[uint64]uint64) // of each writer
		for _, n := range pendingNumbers(t, q) {
			k.delivered[n]++
			if w := n % killWriters; n <= last[w] && last[w] != 0 {
				t.Fatalf("writer %d: event %d behind %d", w, n, last[w])
			} else {
				last[w] = n
			}
		}
		lost := uint64(0)
		for n := range k.acked {
			if k.delivered[n] == 0 {
				lost++
			}
		}
		s := q.Stats()
		if lost > s.Dropped {
			t.Fatalf("mode %d: %d events were acknowledged and are lost, %d dropped", mode, lost, s.Dropped)
		}
		again := 0
		for _, n := range k.delivered {
			again += n - 1
		}
		if again > k.again {
			t.Fatalf("mode %d: %d events were delivered twice, at most %d could be", mode, again, k.again)
		}
		t.Logf("mode %d, %d kills: %d events acknowledged, %d delivered, %d of them twice, %d dropped",
			mode, (rounds+killModes-1-mode)/killModes, len(k.acked), len(k.delivered), again, s.Dropped)
		closeQueue(t, q)
	}
}
