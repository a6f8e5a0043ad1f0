package status

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/wal"
)

// fakeDead remembers what it was asked.
type fakeDead struct {
	letters []agent.DeadLetter
	asked   []string
	err     error
	held    chan struct{} // gets one at the end of each hold; nil: nobody looks
}

func (f *fakeDead) List(_ context.Context, from uint64, limit int) (list []agent.DeadLetter, next uint64, err error) {
	for _, l := range f.letters {
		if l.Offset >= from && len(list) == limit {
			return list, l.Offset, f.err
		}
		if l.Offset >= from {
			list = append(list, l)
		}
	}
	return list, 0, f.err
}

func (f *fakeDead) Retry(_ context.Context, offset uint64) (int, error) {
	f.asked = append(f.asked, "retry")
	return int(offset), f.err
}

func (f *fakeDead) Drop(_ context.Context, offset uint64) (n, later int, err error) {
	f.asked = append(f.asked, "drop")
	return int(offset), 2, f.err
}

func (f *fakeDead) FormerEvents(context.Context) ([]former.Left, former.Stats, error) {
	return []former.Left{{Edge: "e", Type: "DEVICE", Name: "d", ID: "i", Events: 3}}, former.Stats{Kept: 5, Entities: 2}, f.err
}

func (f *fakeDead) RetryByName(context.Context) (n int, more, busy bool, err error) {
	f.asked = append(f.asked, "by name")
	return 7, true, true, f.err
}

func (f *fakeDead) DropFormer(context.Context) (uint64, error) {
	f.asked = append(f.asked, "drop former")
	return 9, f.err
}

func (f *fakeDead) Hold(_ context.Context, fn func()) error {
	fn()
	if f.held != nil {
		f.held <- struct{}{}
	}
	return f.err
}

func (f *fakeDead) Acknowledge(context.Context) error {
	f.asked = append(f.asked, "ack")
	return f.err
}

func TestRequests(t *testing.T) {
	dir := t.TempDir()
	if _, err := RetryDead(dir, 1); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	f := &fakeDead{}
	for o := uint64(1); o <= 250; o++ {
		reason := strings.Repeat("\x01", wal.MaxReason)
		f.letters = append(f.letters, agent.DeadLetter{Offset: o, Reason: reason, At: time.UnixMilli(5).UTC()})
	}
	want := sample()
	s, err := Serve(dir, func() agent.Snapshot { return want }, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []agent.DeadLetter
	if err := DeadLetters(dir, 0, func(l *agent.DeadLetter) bool { got = append(got, *l); return true }); err != nil ||
		!reflect.DeepEqual(got, f.letters) {
		t.Errorf("%v, %d letters, want %d", err, len(got), len(f.letters))
	}
	if n, err := RetryDead(dir, 7); n != 7 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	if n, later, err := DropDead(dir, 0); n != 0 || later != 2 || err != nil {
		t.Errorf("drop: %d, %d, %v", n, later, err)
	}
	f.err = errors.New("flash is gone")
	if _, err := RetryDead(dir, 7); err == nil || err.Error() != "flash is gone" {
		t.Errorf("a failure: %v", err)
	}
	if want := "retry drop retry"; strings.Join(f.asked, " ") != want {
		t.Errorf("asked for %q", f.asked)
	}
	if got, err := Fetch(dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the status between requests: %v, %+v", err, got)
	}
}

// What clients may send, byte for byte, and what they get: a snapshot for nothing, an answer for
// anything else.
func TestSocketClients(t *testing.T) {
	dir := t.TempDir()
	s, err := Serve(dir, sample, &fakeDead{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name, send string
		close      bool
		want       string
	}{
		{"silent, its side open", "", false, `"rss_bytes"`},
		{"silent, its side closed", "", true, `"rss_bytes"`},
		{"an empty line", "\n", false, `"rss_bytes"`},
		{"a request", `{"do":"dead_list"}` + "\n", false, `{"ok":true,"count":0}`},
		{"a request without end of line", `{"do":"dead_list"}`, true, `{"ok":true,"count":0}`},
		{"no JSON", "status\n", false, `{"ok":false,"error":"the request is no JSON`},
		{"too long", strings.Repeat("x", maxRequest), false, `{"ok":false,"error":"the request is no JSON`},
		{"nothing that exists", `{"do":"stop"}` + "\n", false, `unknown request`},
		{"an unknown field", `{"do":"dead_list","secret":1}` + "\n", false, `"ok":false`},
		{"no letter", `{"do":"dead_drop"}` + "\n", false, `offset above 0`},
	} {
		conn, err := net.Dial("unix", filepath.Join(dir, sockName))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.WriteString(conn, c.send); err != nil {
			t.Fatal(err)
		}
		if c.close {
			conn.(*net.UnixConn).CloseWrite()
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.Contains(string(got), c.want) || !json.Valid(got) || strings.Count(string(got), "\n") != 1 {
			t.Errorf("%s: %v, %.200q, want %q", c.name, err, got, c.want)
		}
	}
}

// An agent from before requests answers whatever it is sent with its status.
func TestAskingAnOlderAgent(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, sockName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, `{"state":"connected"}`+"\n")
			c.Close()
		}
	}()
	if _, err := RetryDead(dir, 1); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("%v", err)
	}
}

// Dead letters that were delivered or discarded count no more, also when no agent runs.
func TestFetchReadsDeadLetters(t *testing.T) {
	dir := t.TempDir()
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Append(t.Context(), make([]wal.Event, 4)...); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(q.End(), 1, 3); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), 0, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	for o := uint64(2); o <= 4; o++ {
		if err := d.Put(wal.DeadLetter{Offset: o}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Remove(2, true), d.Remove(3, false), d.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Fetch(dir)
	if err != nil || s.Accepted != 4 || s.Deployed != 2 || s.Dropped != 1 || s.Dead != 1 || s.Running {
		t.Errorf("%v, %+v", err, s)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"do":"dead_list","offset":5}`))
	f.Add([]byte(`{"do":"dead_drop","all":true}`))
	f.Add([]byte(`{"do":"dead_retry","offset":18446744073709551615} {}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			if r != (Request{}) && len(line) <= maxRequest {
				t.Errorf("%q: %v and %+v", line, err, r)
			}
			return
		}
		if r.Do != doList && r.All == (r.Offset != 0) {
			t.Errorf("%q names nothing, or twice: %+v", line, r)
		}
		again, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseRequest(again); err != nil || back != r {
			t.Errorf("%q reads back as %+v, %v", again, back, err)
		}
	})
}

// While a client looks the agent holds, for a bounded time; whoever took longer is told.
func TestHoldIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := Hold(dir, func() error { t.Error("called"); return nil }); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	f := &fakeDead{held: make(chan struct{}, 1)}
	s, err := Serve(dir, sample, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := Hold(dir, func() error {
		select {
		case <-f.held:
			t.Error("it does not hold")
		default:
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	<-f.held
	mine := errors.New("mine")
	if err := Hold(dir, func() error { return mine }); !errors.Is(err, mine) {
		t.Errorf("an error of the client's: %v", err)
	}
	<-f.held // it went away, and the agent goes on
	old := holdLimit
	holdLimit = 20 * time.Millisecond
	defer func() { holdLimit = old }()
	if err := Hold(dir, func() error { <-f.held; return nil }); err == nil || !strings.Contains(err.Error(), "could not hold so long") {
		t.Errorf("one that took longer: %v", err)
	}
	f.err = errors.New("the loop is busy")
	if err := Hold(dir, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "the loop is busy") {
		t.Errorf("a busy loop: %v", err)
	}
}
