package rules

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// waits is a message of the model of windows.
type waits struct {
	ts   int64
	data string
}

// paneModel is a window as RULES.md 4.4 describes it.
type paneModel struct {
	list []waits
	due  int64 // when its timer fires
	open int64 // when its first message of all was stored
}

// fire is what of the window goes now, each pack as the node writes it.
func (p *paneModel) fire(now, interval int64) (packs []string) {
	for len(p.list) > 0 {
		start := p.list[0].ts
		for _, w := range p.list {
			start = min(start, w.ts)
		}
		if start+interval > now {
			break
		}
		var text []string
		p.list = slices.DeleteFunc(p.list, func(w waits) bool {
			if w.ts < start+interval {
				text = append(text, fmt.Sprintf(`{"msg":%s,"metadata":{"ts":"%d"}}`, w.data, w.ts))
				return true
			}
			return false
		})
		packs = append(packs, "["+strings.Join(text, ",")+"]")
	}
	p.due = now + interval + 1
	return packs
}

// clean writes again what of the log's head is needed, as the journal does, and says how much of
// the head is given up.
func (j *journal) clean(n int) {
	w := j.windows(false)
	head := j.log[:n]
	for _, l := range head {
		if rest := w.Rest(l.kind, l.record); rest != nil {
			j.log = append(j.log, logged{l.kind, slices.Clone(rest)})
		}
	}
	j.log = j.log[n:]
}

// Windows let go what the model says, in its order, whenever the agent is started anew, its log is
// cleaned, or both, also where a crash leaves the head that was cleaned.
func TestWindowsModel(t *testing.T) {
	const interval = 10_000
	devices := []string{deviceID, secondID}
	nodes := []string{
		`deduplication.TbMsgDeduplicationNode|w|{"interval":10,"strategy":"ALL",` +
			`"outMsgType":"POST_TELEMETRY_REQUEST","maxPendingMsgs":999}`,
		push,
	}
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		j := &journal{records: map[string][]byte{}}
		open := func() *Trial {
			e := testEdge(t, Options{Journal: j})
			for _, id := range []string{rootID, otherID} {
				e.chain(t, id, id == rootID, nodes, "0>1:Success")
			}
			return e
		}
		e := open()
		model := map[string]*paneModel{}
		at, crashed := 0, false
		for range 150 {
			last := tryStart + int64(at)
			at += rnd.IntN(1500)
			now := tryStart + int64(at)
			var want []string
			// Timers fire in the order of their times.
			for {
				next := ""
				for who, p := range model {
					if p.due <= now && (next == "" || p.due < model[next].due) {
						next = who
					}
				}
				if next == "" {
					break
				}
				p := model[next]
				for _, pack := range p.fire(max(p.due, last), interval) {
					want = append(want, "cloud "+pack)
				}
				if len(p.list) == 0 {
					delete(model, next)
				}
			}
			who := devices[rnd.IntN(2)]
			ts := now - int64(rnd.IntN(4))*4000 + int64(rnd.IntN(4))*4000
			data := fmt.Sprintf(`{"t":%d,"word":"%s"}`, rnd.IntN(100), strings.Repeat("x", rnd.IntN(4)))
			got := e.say(t, fmt.Sprintf(`{"at":%d,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":%q},`+
				`"metadata":{"ts":"%d"},"data":%s}}`, at, who, ts, data))
			packs := strings.Split(got, "; ")
			slices.Sort(packs) // of two devices whose time is over any may be the first
			slices.Sort(want)
			if got != "" && !slices.Equal(packs, want) || got == "" && len(want) != 0 {
				t.Fatalf("seed %d, at %d:\n%q, want\n%q", seed, at, packs, want)
			}
			p := model[who]
			if p == nil {
				p = &paneModel{due: now + interval + 1, open: now}
				model[who] = p
			}
			p.list = append(p.list, waits{ts, data})
			held := 0
			for _, p := range model {
				held += len(p.list)
			}
			if w := j.windows(false); int(e.e.Sums().Held) != held || w.Waiting != held {
				t.Fatalf("seed %d, at %d: %d are held, %d in the log, want %d", seed, at, e.e.Sums().Held, w.Waiting, held)
			}
			kept := int64(0)
			w := j.windows(false)
			for _, l := range j.log {
				if rest := w.Rest(l.kind, l.record); rest != nil && !crashed {
					kept += int64(len(rest)) + recordCost
				}
			}
			if kept > 2*w.Live { // else the log would be cleaned without an end
				t.Fatalf("seed %d, at %d: %d bytes must stay, said to be %d", seed, at, kept, w.Live)
			}
			switch rnd.IntN(12) {
			case 0:
				j.clean(rnd.IntN(len(j.log) + 1))
			case 1: // a crash before the head that was cleaned is given up
				crashed = true
				log := slices.Clone(j.log)
				n := rnd.IntN(len(j.log) + 1)
				j.clean(n)
				j.log = append(log[:n:n], j.log...)
			case 2:
				e = open()
				e.now = now
				if lost := e.e.RestoreWindows(j.windows(true)); lost != 0 {
					t.Fatalf("seed %d, at %d: %d are lost", seed, at, lost)
				}
				for _, p := range model {
					p.due = p.open + interval + 1
				}
			}
		}
		if w := j.windows(false); w.Live < int64(w.Waiting)*recordCost {
			t.Errorf("%d bytes of %d messages", w.Live, w.Waiting)
		}
		// Without messages nothing is left.
		e.send(t, at+10*interval, deviceID, "", "")
		if s, w := e.e.Sums(), j.windows(false); s.Held != 0 || s.HeldBytes != 0 || w.Waiting != 0 || w.Live != 0 || len(w.open) != 0 {
			t.Errorf("seed %d, at the end: %+v, %+v", seed, s, w)
		}
	}
}

// What became of a message before its window, and what entered the chain, come back with it.
func TestWindowsKeepWhatEntered(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	script := `transform.TbTransformMsgNode|script|{"scriptLang":"TBEL","tbelScript":"return {msg: {k: msg.t + 273.15}};"}`
	nodes := []string{onlyHot, push, script, minute, push}
	links := []string{"0>1:True", "0>2:False", "1>2:Success", "2>3:Success", "3>4:Success"}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	want(t, e.post(t, 0, `{"t":1}`), ``)
	want(t, e.post(t, 1, `{"t":31}`), `cloud {"t":31}`)
	want(t, e.post(t, 2, `{"t":2}`), ``)
	e = testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, []string{push})
	e.now = tryStart + 3
	if lost := e.e.RestoreWindows(j.windows(true)); lost != 0 {
		t.Errorf("%d are lost", lost)
	}
	want(t, e.send(t, 4, deviceID, "", ""), `cloud {"t":1} vanished; cloud {"t":2} vanished`)
	if s := e.e.Sums(); s.Held != 0 || s.HeldBytes != 0 || j.windows(false).Waiting != 0 {
		t.Errorf("%+v, %d in the log", s, j.windows(false).Waiting)
	}
}

// A window whose result was not in the queue when the agent died is there beside the next one of
// its device: both go as one.
func TestTwoWindowsOfADevice(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	chain := func() *Trial {
		e := testEdge(t, Options{Journal: j})
		e.chain(t, rootID, true, []string{minute, push}, "0>1:Success")
		return e
	}
	e := chain()
	e.post(t, 0, `{"t":1}`)
	first := slices.Clone(j.log)
	e.post(t, 60_002, `{"t":2}`)
	if len(j.log) != 3 || j.log[1].kind != WindowGone {
		t.Fatalf("%v", j.log)
	}
	j.log = append(first, j.log[2:]...)
	e = chain()
	e.now = tryStart + 60_003
	if lost := e.e.RestoreWindows(j.windows(true)); lost != 0 || j.windows(false).Waiting != 2 {
		t.Errorf("%d are lost, %d wait", lost, j.windows(false).Waiting)
	}
	e.send(t, 60_004, deviceID, "", "")
	got := e.send(t, 130_000, deviceID, "", "")
	if s := e.e.Sums(); strings.Count(got, `"msg"`) != 1 || s.Held != 0 || j.windows(false).Waiting != 0 || s.Merged != 2 {
		t.Errorf("%s, %+v", got, s)
	}
}

// A message of a device costs some twenty bytes in its window, and its size does not count twice.
func TestWindowsAreSmall(t *testing.T) {
	const devices, each = 100, 60
	j := &journal{records: map[string][]byte{}}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, []string{minute}, "0>0:Success")
	e.now = tryStart
	for n := range each {
		for d := range devices {
			e.now = tryStart + int64(n*1000+d)
			m := &Message{
				Type: PostTelemetry, Originator: Entity{"DEVICE", proto.UUID{1, 15: byte(d)}}, Time: e.now,
				Data: fmt.Sprintf(`{"temperature":%d.%d}`, 20+n%3, n%10),
			}
			m.setMeta("deviceName", fmt.Sprint("meter ", d))
			m.setMeta("deviceType", "thermometer")
			m.setMeta("ts", decimal(e.now))
			if known, err := e.e.Handle(m, nil); !known || err != nil {
				t.Fatal(known, err)
			}
		}
	}
	s := e.e.Sums()
	log := 0
	for _, l := range j.log {
		log += len(l.record) + recordCost
	}
	t.Logf("%d bytes in memory, %d in the log", s.HeldBytes, log)
	if s.Held != devices*each || s.HeldBytes > devices*(each*20+1300) || log > devices*each*56 {
		t.Errorf("%+v: %d bytes a message; %d of the log", s, s.HeldBytes/s.Held, log/devices/each)
	}
}

// One window holds as much as can be read at once, all of them as much as the bound says; what
// comes beyond it is pushed as it is, and a window goes.
func TestWindowsAreBounded(t *testing.T) {
	e := testEdge(t, Options{MaxHeldBytes: 1 << 20})
	nodes := []string{`deduplication.TbMsgDeduplicationNode|w|{"interval":3600,"strategy":"LAST","maxPendingMsgs":100000}`, push}
	e.chain(t, rootID, true, nodes, "0>1:Success")
	long := strings.Repeat("x", 100_000)
	sent := 0
	for want := ""; want == ""; sent++ { // alike, so that they take hardly any memory
		want = e.post(t, sent, `{"t":"`+long+`"}`)
	}
	if n := 3<<20/(len(long)+512+50) + 1; sent < n-1 || sent > n+1 {
		t.Errorf("a window held %d messages", sent-1)
	}
	if s := e.e.Sums(); s.HeldBytes > 150_000 || s.Safety != 1 {
		t.Errorf("%+v", s)
	}
	e.send(t, sent, deviceID, "", "")
	if s := e.e.Sums(); s.Held != 0 || s.HeldBytes != 0 || s.Accepted != 2 {
		t.Errorf("%+v", s)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		b := make([]byte, 2000)
		for i := range b {
			b[i] = 'a' + byte(random.IntN(26))
		}
		sent++
		e.post(t, sent, `{"t":"`+string(b)+`"}`)
		if s := e.e.Sums(); s.HeldBytes > 1<<20+200_000 {
			t.Fatalf("%+v", s)
		}
	}
	if s := e.e.Sums(); s.Received != s.Merged+s.Safety+uint64(s.Held) || s.Safety < 2 {
		t.Errorf("%+v", s)
	}
}

// A message of the end of time waits, and goes with its window when that must go.
func TestWindowsOfNoTime(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{minute, push}, "0>1:Success")
	for _, ts := range []string{"9223372036854775807", "9223372036854775800", "-9223372036854775808"} {
		e.say(t, `{"at":0,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":"`+deviceID+
			`"},"metadata":{"ts":"`+ts+`"},"data":{"t":1}}}`)
	}
	got := e.send(t, 60_001, deviceID, "", "")
	if s := e.e.Sums(); s.Held+int64(s.Merged) != 3 || s.Merged == 0 {
		t.Errorf("%s, %+v", got, s)
	}
	e.e.flush(nil, &Entity{})
	e.send(t, 60_002, deviceID, "", "")
	if s := e.e.Sums(); s.Held != 0 || s.Merged != 3 {
		t.Errorf("%+v", s)
	}
}

// FuzzEntry: a message comes back as it was written, whatever the first one of its window is.
func FuzzEntry(f *testing.F) {
	f.Add("T", "k", "1767225600000", `{"a":1}`, int64(5), "T", "1767225601000", `{"a":2}`, int64(6), uint8(0))
	f.Add("T", "ts", "1767225600000", `{"a":1}`, int64(5), "T", "1767225600001", `{"a":2}`, int64(6), uint8(0))
	f.Add("T", "k", "aaa", "aaaa", int64(5), "U", "aa", "aaaaaa", int64(-6), uint8(31))
	f.Fuzz(func(t *testing.T, typ, key, value, data string, at int64, typ2, value2, data2 string, at2 int64, flags uint8) {
		who := Entity{"DEVICE", proto.UUID{1}}
		first := &Message{Type: typ, Originator: who, Time: at, Data: data, count: 1}
		first.setMeta(key, value)
		m := &Message{Type: typ2, Originator: who, Time: at2, Data: data2, count: 1 + int32(flags&1), owned: true}
		m.setMeta(key, value2)
		m.from = &origin{live: 1, odd: flags&2 != 0, pushed: flags&4 != 0}
		if flags&8 != 0 {
			m.stack = []frame{{proto.UUID{2}, 9}}
		}
		m.from.raw = []*Message{m}
		if flags&16 != 0 {
			raw := *first
			raw.Originator.ID[1], raw.count, raw.from = 9, 0, nil
			m.from.raw[0] = &raw
		}
		b := first.entry(nil, m)
		r := records{b: b}
		got := r.message(first, false)
		if r.bad || len(r.b) != 0 {
			t.Fatalf("%x is damaged", b)
		}
		if m.from.pushed { // what entered is not asked for
			m.from.raw[0], got.from.raw[0] = m, m
		}
		want, raw := *m.from.raw[0], *got.from.raw[0]
		if want.from = nil; flags&16 != 0 && !m.from.pushed {
			raw.owned = want.owned
		}
		if raw.from = nil; !reflect.DeepEqual(raw, want) {
			t.Errorf("what entered, %+v, became %+v", want, raw)
		}
		m.from.raw, got.from.raw = nil, nil
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v", m, got)
		}
	})
}

// FuzzWindowLog: whatever a log says, its windows come back or are counted as lost, and what is
// read of them is bounded.
func FuzzWindowLog(f *testing.F) {
	j := &journal{records: map[string][]byte{}}
	e, err := NewTrial([]byte(`{"world":{}}`), Options{Journal: j})
	if err != nil {
		f.Fatal(err)
	}
	if err := e.e.Head([]byte(`{"id":{"id":"` + rootID + `"},"root":true}`)); err != nil {
		f.Fatal(err)
	}
	chain := metadataOf(rootID, []string{minute, push}, "0>1:Success")
	if _, err := e.e.Metadata(chain); err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		m := &Message{Type: PostTelemetry, Originator: Entity{Type: "DEVICE"}, Time: tryStart, Data: fmt.Sprintf(`{"a":%d}`, i)}
		if _, err := e.e.Handle(m, nil); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(j.log[0].record, j.log[1].record, j.log[2].record, goneRecord(2, []uint32{0, 2}))
	f.Add(j.log[0].record, j.log[1].record, []byte{}, goneRecord(2, nil))
	f.Fuzz(func(t *testing.T, begun, one, two, gone []byte) {
		w := &WindowLog{Whole: true}
		for _, l := range []logged{{WindowBegun, begun}, {WindowGrew, one}, {WindowGrew, two}, {WindowGone, gone}} {
			w.Note(l.kind, l.record)
			if rest := w.Rest(l.kind, l.record); rest != nil && !bytes.HasPrefix(l.record, rest) {
				t.Errorf("%x is left of %x", rest, l.record)
			}
		}
		j := &journal{records: map[string][]byte{}}
		e, err := NewTrial([]byte(`{"world":{}}`), Options{Journal: j})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.e.Head([]byte(`{"id":{"id":"` + rootID + `"},"root":true}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.e.Metadata(chain); err != nil {
			t.Fatal(err)
		}
		n := w.Waiting
		lost := e.e.RestoreWindows(w)
		s := e.e.Sums()
		if s.Held+int64(lost) != int64(n) || w.Waiting != int(s.Held) || s.HeldBytes > 4*maxPane {
			t.Errorf("%d waited, %d are lost: %+v, the log has %d", n, lost, s, w.Waiting)
		}
		e.now = 1 << 50
		for range 3 {
			e.e.Tick()
			e.now += 100_000
		}
		if s := e.e.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) {
			t.Errorf("%+v", s)
		}
	})
}

// TestValueInWindow: what a window keeps of a further value of a device, which has a time of its
// own, is ten bytes, place and length among them, and is read as it was.
func TestValueInWindow(t *testing.T) {
	at := func(ts int64, data string) *Message {
		m := &Message{Type: PostTelemetry, Originator: Entity{"DEVICE", proto.UUID{1}}, Time: ts, Data: data}
		m.Metadata = []script.Pair{{Key: "deviceName", Value: "a"}, {Key: "ts", Value: decimal(ts)}}
		return m
	}
	first, m := at(1767225600000, `{"t":20.1}`), at(1767225630123, `{"t":20.3}`)
	p := &pane{first: first}
	p.add(1, first.entry(nil, m), 1)
	if len(p.data) != 10 {
		t.Errorf("%d bytes: %x", len(p.data), p.data)
	}
	list := p.messages()
	if len(list) != 1 || !reflect.DeepEqual(list[0].Metadata, m.Metadata) || list[0].Data != m.Data || list[0].Time != m.Time {
		t.Errorf("%+v", list)
	}
	for key, value := range map[string]string{"ts": "1767225630124", "deviceName": "b"} { // what is not alike
		other := at(1767225630123, m.Data)
		other.setMeta(key, value)
		r := records{b: first.entry(nil, other)}
		if got := r.message(first, false); r.bad || len(r.b) > 0 || !reflect.DeepEqual(got.Metadata, other.Metadata) {
			t.Errorf("%s: %+v", key, got)
		}
	}
}
