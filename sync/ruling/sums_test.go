package ruling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Values go by the number's rest of four: 0 is filtered, 1 goes up, 2 waits in a window, 3 does
// both.
var fourWays = []string{
	`filter.TbJsSwitchNode|ways|{"scriptLang":"TBEL","tbelScript":"var w = msg.n % 4; if (w == 0) { return []; } ` +
		`if (w == 1) { return ['raw']; } if (w == 2) { return ['window']; } return ['raw', 'window'];"}`,
	`edge.TbMsgPushToCloudNode|raw|{"scope":"CLIENT_SCOPE"}`,
	`deduplication.TbMsgDeduplicationNode|window|{"interval":5,"strategy":"ALL","outMsgType":"POST_TELEMETRY_REQUEST","maxPendingMsgs":4}`,
	`transform.TbTransformMsgNode|all|{"scriptLang":"TBEL","tbelScript":"var s = ''; foreach (m : msg) { s = s + m.msg.n + ' '; } ` +
		`return {msg: {all: s}, metadata: metadata, msgType: msgType};"}`,
	`edge.TbMsgPushToCloudNode|push|{"scope":"CLIENT_SCOPE"}`,
}

// sumsModel is what must be: which values a device was told are accepted, and what of them went up.
type sumsModel struct {
	*rig
	rnd      *rand.Rand
	n        int
	accepted []int
	since    uint64        // messages that were accepted since the start, and those that waited then
	raw      map[int]int   // how many times a value went up as it came
	merged   map[int]int   // … in what came of a window
	waiting  []proto.Event // of a post that is refused, and comes again
	crashed  bool          // now and then
	seen     int
}

// hear takes what has come to the queue.
func (m *sumsModel) hear() {
	m.Helper()
	for _, e := range m.queue[m.seen:] {
		f, _ := open(e.Fragment)
		for _, kv := range f.values() {
			if string(kv.Key) == "n" {
				m.raw[int(kv.Long)]++
			}
			for text := range strings.FieldsSeq(string(kv.Str)) {
				n := 0
				fmt.Sscan(text, &n)
				m.merged[n]++
			}
		}
	}
	m.seen = len(m.queue)
}

// check looks at the sums, while no message is on its way.
func (m *sumsModel) check() {
	m.Helper()
	s := m.engine.Sums()
	if s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
		m.Fatalf("after %d values: %+v", m.n, s)
	}
	if s.Received != m.since {
		m.Fatalf("after %d values %d messages have come, want %d: %+v", m.n, s.Received, m.since, s)
	}
	if s.Held < 0 || s.HeldBytes < 0 {
		m.Fatalf("%+v", s)
	}
}

// post brings a value, which is refused now and then; a crash may come before the device is told.
func (m *sumsModel) post() {
	m.Helper()
	list := m.waiting
	if m.waiting = nil; list == nil {
		m.n++
		list = events(m, 1+m.rnd.IntN(2), fmt.Sprintf(`{"n":%d}`, m.n))
	}
	out, finish, err := m.take(list)
	if err != nil || finish == nil {
		m.Fatal(err)
	}
	if len(out) > 0 && m.rnd.IntN(3) == 0 {
		m.waiting = list
		if m.rnd.IntN(2) == 0 {
			err = finish(errFull, nil)
		} else {
			_ = finish(errFull, func(e error) { err = e })
			m.journal.do()
		}
		if !errors.Is(err, errFull) {
			m.Fatal("not refused:", err)
		}
		return
	}
	for i := range out {
		e := &out[i]
		m.queue = append(m.queue, wal.Event{Kind: uint8(e.Kind), Action: uint8(e.Action), Fragment: slices.Clone(e.Fragment)})
	}
	told := false
	if err := finish(nil, func(err error) { told = err == nil }); err != nil {
		m.Fatal(err)
	}
	if m.crashed && m.rnd.IntN(10) == 0 {
		m.waiting = list
		m.restart(true)
		return
	}
	m.journal.write()
	if !told {
		m.Fatal("the device is not told")
	}
	var n int
	f, _ := open(list[0].Fragment)
	for _, kv := range f.values() {
		n = int(kv.Long)
	}
	m.accepted = append(m.accepted, n)
	m.since++
}

func (m *sumsModel) restart(kill bool) {
	m.Helper()
	m.close(kill)
	m.open()
	m.since = uint64(m.engine.Sums().Held)
}

// Whatever is refused, waits or crashes: the sums hold at any time, and each value that a device
// was told is accepted is in the queue, in a window, or was filtered.
func TestSumsModel(t *testing.T) {
	for _, crashes := range []bool{false, true} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(crashes, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := &sumsModel{
						rig: newRig(t), rnd: rand.New(rand.NewPCG(seed, 4)), raw: map[int]int{}, merged: map[int]int{}, crashed: crashes,
					}
					m.chain(chainID, true, fourWays, "0>1:raw", "0>2:window", "2>3:Success", "2>4:Failure", "3>4:Success")
					for range 400 {
						switch m.rnd.IntN(12) {
						case 0, 1:
							time.Sleep(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
						case 2, 3: // what is due
							m.refuse = nil
							if m.rnd.IntN(3) == 0 {
								m.refuse = errFull
							}
							m.engine.Tick()
							_ = m.flush() // it may be refused
							m.journal.write()
						case 4:
							if m.refuse = nil; m.rnd.IntN(6) == 0 {
								m.restart(m.crashed)
							}
						default:
							m.post()
						}
						m.check()
					}
					for m.refuse = nil; m.waiting != nil; {
						m.post()
					}
					time.Sleep(time.Minute)
					m.engine.Tick()
					if err := m.flush(); err != nil {
						t.Error(err)
					}
					m.journal.write()
					m.check()
					m.hear()
					if s := m.engine.Sums(); s.Held != 0 || s.HeldBytes != 0 {
						t.Errorf("%+v", s)
					}
					most := 1
					if crashes { // what was in the queue, but not told, comes again
						most = 1000
					}
					for _, n := range m.accepted {
						raw, merged := m.raw[n], m.merged[n]
						if n%4 == 0 && raw+merged > 0 || n%4 == 1 && (raw < 1 || raw > most || merged > 0) ||
							n%4 == 2 && (raw+merged < 1 || raw+merged > most) ||
							n%4 == 3 && (raw < 1 || raw+merged < 2 || raw+merged > 2*most) {
							t.Errorf("%d went up %d times as it came and %d times in a window", n, raw, merged)
						}
					}
					if len(m.accepted) < 150 {
						t.Errorf("%d values were accepted", len(m.accepted))
					}
					m.close(false)
				})
			})
		}
	}
}
