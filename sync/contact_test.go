package sync

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal"
)

// Causes are counted by their text, without the port that the system chose, the latest last; a
// contact forgets them.
func TestCausesAreBounded(t *testing.T) {
	var c contact
	c.failed("read tcp 10.0.0.2:51234->10.0.0.1:7070: i/o timeout", false)
	c.failed("refused", true)
	c.failed("read tcp 10.0.0.2:51236->10.0.0.1:7070: i/o timeout", false)
	if got := fmt.Sprint(c.causes); got != "[{refused 1 true} {read tcp 10.0.0.1:7070: i/o timeout 2 false}]" {
		t.Error(got)
	}
	for i := range 20 {
		c.failed(strings.Repeat("é", i+1000), false)
	}
	if len(c.causes) != 3 || c.causes[2].Count != 20 || len(c.causes[2].Text) > maxCause+len("…") {
		t.Errorf("%+v", c.causes) // cut, they are one
	}
	for i := range 20 {
		c.failed(fmt.Sprint(i), false)
	}
	if len(c.causes) != MaxCauses || c.causes[0].Text != "12" || c.causes[7].Text != "19" {
		t.Errorf("%+v", c.causes)
	}
	now := time.Now()
	if c.heard(now, 7); c.causes != nil || c.attempts != 7 || !c.at.Equal(now) {
		t.Errorf("%+v", c)
	}
}

// The link lasts since its session was accepted, whatever goes over it; the state begins anew with
// each event.
func TestLinkedSince(t *testing.T) {
	inBox(t, nil, func(b *box) {
		d := b.device("one").ID
		begun := b.agent.Snapshot().LinkedSince
		if begun == nil {
			b.Fatal("not linked")
		}
		b.elapse(time.Minute)
		b.post(d, 1)
		b.elapse(10 * time.Second)
		s := b.agent.Snapshot()
		b.expect("state", s.State, Connected)
		b.expect("linked", s.LinkedSince.Equal(*begun) && s.StateSince().Equal(*begun), true)
		b.expect("the state began with the event", s.Since.Sub(*begun) > time.Minute, true)
		b.offline(func() {
			s := b.agent.Snapshot()
			b.expect("without a link", s.LinkedSince == nil && s.StateSince().Equal(s.Since), true)
		})
		s = b.agent.Snapshot()
		b.expect("linked anew", s.LinkedSince != nil && s.LinkedSince.Sub(*begun) > time.Minute, true)
	})
}

// The rate is that of the last hour: the oldest of sixty samples, one a minute.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := wal.Open(wal.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		var p pace
		start := time.Now()
		for i := range 200 {
			if err := q.Append(t.Context(), wal.Event{Time: 1700000000000, Fragment: make([]byte, 68)}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got, want := p.take(time.Now(), q).at, start.Add(time.Duration(max(0, i-59))*time.Minute); !got.Equal(want) {
					t.Fatalf("minute %d: the oldest is of %v, want %v", i, got, want)
				}
				time.Sleep(20 * time.Second)
			}
		}
		oldest, now := p.take(time.Now(), q), pacedNow(time.Now(), q.Life())
		if events, bytes := now.events-oldest.events, now.bytes-oldest.bytes; events != 58 || bytes != 5800 {
			t.Errorf("%d events of %d bytes, want 58 of 5800", events, bytes)
		}
	})
}
