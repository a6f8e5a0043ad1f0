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
	"sync"
	"testing"
)

var kills = flag.Int("kills", 20, "rounds of TestKill")

const (
	killEnv     = "EDGESYNC_TEST_KILL_DIR"
	offlineEnv  = "EDGESYNC_TEST_KILL_OFFLINE" // not empty: there is no cloud, nothing is committed
	killWriters = 16
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		killChild(dir)
	}
	os.Exit(m.Run())
}

// killChild appends with many writers and commits what it reads until it is killed. It reports on its standard output: 'a' and a number
// for each event that was accepted, 'c' and a number for each that the "cloud" got.
func killChild(dir string) {
	o := testOptions(dir)
	o.SegmentSize = 16 << 10
	q, err := Open(o)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(3)
	}
	var mu sync.Mutex
	report := func(kind byte, n uint64) {
		b := binary.LittleEndian.AppendUint64([]byte{kind}, n)
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
				report('a', n)
			}
		}()
	}
	if os.Getenv(offlineEnv) != "" {
		select {}
	}
	r := q.Reader()
	for range q.Wake() {
		count := uint64(0)
		if err := r.Read(func(e *Entry) bool {
			report('c', binary.LittleEndian.Uint64(e.Fragment))
			count++
			return count < 100
		}); err != nil {
			os.Exit(3)
		}
		q.Commit(r.Position(), count, 0)
	}
}

// Accepted means durable: SIGKILL at any moment loses no acknowledged event, and each writer's events stay in order. What the cloud
// gets twice is counted (architecture, rule 1; doc.go, rows C1 to C7).
func TestKill(t *testing.T) {
	rounds := *kills
	if testing.Short() {
		rounds = min(rounds, 3)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := queueDir(t)
	acked := make(map[uint64]bool)
	delivered := make(map[uint64]int)
	for round := range rounds {
		child := exec.Command(exe)
		child.Env = append(os.Environ(), killEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Skipf("a child process cannot be started here: %v", err)
		}
		after := 200 + rand.IntN(3000) // reports
		in := bufio.NewReader(out)
		var rec [9]byte
		for i := 0; ; i++ {
			if i == after {
				child.Process.Kill()
			}
			if _, err := io.ReadFull(in, rec[:]); err != nil {
				break
			}
			n := binary.LittleEndian.Uint64(rec[1:])
			if rec[0] == 'a' {
				acked[n] = true
			} else {
				delivered[n]++
			}
		}
		if state := child.Wait(); state == nil || child.ProcessState.ExitCode() == 3 {
			t.Fatalf("round %d: the child ended by itself: %v", round, state)
		}
		s, err := Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		checkIdentity(t, s)
		if s.Damaged != 0 || s.Dropped != 0 {
			t.Fatalf("round %d: %+v", round, s)
		}
	}
	o := testOptions(dir)
	o.SegmentSize = 16 << 10
	q := openQueue(t, o)
	checkInspect(t, q)
	last := make(map[uint64]uint64) // of each writer
	for _, n := range pendingNumbers(t, q) {
		delivered[n]++
		if w := n % killWriters; n <= last[w] && last[w] != 0 {
			t.Fatalf("writer %d: event %d behind %d", w, n, last[w])
		} else {
			last[w] = n
		}
	}
	for n := range acked {
		if delivered[n] == 0 {
			t.Fatalf("event %d was acknowledged and is lost", n)
		}
	}
	again := 0
	for _, k := range delivered {
		again += k - 1
	}
	t.Logf("%d kills: %d events acknowledged, %d delivered, %d of them twice", rounds, len(acked), len(delivered), again)
}
