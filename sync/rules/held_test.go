package rules

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// TestCallsEnd: an answer ends the wait of a call, a call that cannot be sent fails at once.
func TestCallsEnd(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{`rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":5}`, ack}, "0>1:Success")
	for i := range 5 {
		e.send(t, i, deviceID, CallToDevice, `{"method":"m","params":{}}`)
	}
	if len(e.e.timers) != 5 || len(e.e.calls) != 5 {
		t.Fatal(len(e.e.timers), len(e.e.calls))
	}
	for i, id := range []uint32{3, 1, 5, 2, 4, 4} {
		e.e.Answer(id, `{}`, "")
		if left := max(0, 4-i); len(e.e.timers) != left || len(e.e.calls) != left || e.e.Sums().Held != int64(left) {
			t.Errorf("%d timers, %d calls", len(e.e.timers), len(e.e.calls))
		}
	}
	// What nobody answers is told of to the caller from outside.
	if _, err := e.step(`{"at":6,"in":{"msgType":"RPC_CALL_FROM_SERVER_TO_DEVICE","originator":{"entityType":"DEVICE","id":"` + deviceID +
		`"},"metadata":{"requestUUID":"520ca9be-d264-5f8e-b0a1-a602b0e13164"},"data":{"method":"m","params":{}}}}`); err != nil {
		t.Fatal(err)
	}
	out, err := e.step(`{"at":5006}`)
	if word := textOf(out.get("answered").get("body"), "error"); err != nil || word != "TIMEOUT" {
		t.Error(out, err)
	}
	q := &quiet{Trial: e, pushed: map[Entity][]string{}, refuse: errors.New("no session")}
	e.e.out = q
	e.send(t, 6000, deviceID, CallToDevice, `{"method":"m","params":{}}`)
	if s := e.e.Sums(); len(e.e.timers) != 0 || len(e.e.calls) != 0 || s.Held != 0 || s.HeldBytes != 0 || s.Failed != 2 {
		t.Errorf("%+v", s)
	}
}

// FuzzRecord: what a record says comes back, anything else is an error.
func FuzzRecord(f *testing.F) {
	m := &Message{Type: "T", Originator: Entity{"DEVICE", proto.UUID{1}}, Time: -5, Data: `{"a":1}`, count: 3, pushed: true, stored: 7}
	m.setMeta("k", "v")
	m.stack = []frame{{proto.UUID{2}, 9}}
	f.Add(m.record())
	f.Add([]byte{recordForm})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readRecord(b)
		if err != nil {
			return
		}
		again, err := readRecord(m.record())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v: %v", m, again, err)
		}
	})
}

// journal keeps records in memory.
type journal struct {
	records map[string][]byte
	log     []logged
	full    error
}

// logged is a record of the log of windows.
type logged struct {
	kind   uint8
	record []byte
}

func (j *journal) Window(kind uint8, record []byte) error {
	if j.full != nil && kind != WindowGone {
		return j.full
	}
	j.log = append(j.log, logged{kind, slices.Clone(record)})
	return nil
}

// windows is what the log comes to.
func (j *journal) windows(whole bool) *WindowLog {
	w := &WindowLog{Whole: whole}
	for _, l := range j.log {
		w.Note(l.kind, l.record)
	}
	return w
}

func (j *journal) Keep(key string, record []byte) error {
	if j.full != nil {
		return j.full
	}
	j.records[key] = record
	return nil
}

func (j *journal) Note(n *Note) {
	_ = n.Stage(j.Keep, func(key string) { delete(j.records, key) })
}

func (j *journal) Forget(key string) error {
	if _, ok := j.records[key]; !ok {
		return errors.New("no such record")
	}
	delete(j.records, key)
	return nil
}

// TestJournal: what waits survives a restart, what cannot go back to its node is pushed.
func TestJournal(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	nodes := []string{
		`filter.TbMsgTypeFilterNode|f|{"messageTypes":["DELAYED"]}`, minute, push,
		`delay.TbMsgDelayNode|delay|{"periodInSeconds":10}`,
	}
	links := []string{"0>1:False", "1>2:Success", "0>3:True"}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	e.post(t, 0, `{"t":1}`)
	e.post(t, 1, `{"t":2}`)
	e.send(t, 2, secondID, "DELAYED", `{}`)
	e.chain(t, otherID, false, []string{minute})
	e.send(t, 3, secondID, PostTelemetry, `{"t":9}`)
	if w := j.windows(false); len(j.records) != 1 || w.Waiting != 3 {
		t.Fatalf("%d records, %d in windows", len(j.records), w.Waiting)
	}
	kept := map[string][]byte{}
	for k, v := range j.records {
		kept[k] = v
	}
	e = testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	e.now = tryStart + 5
	for _, k := range slices.Sorted(maps.Keys(kept)) {
		v := kept[k]
		if err := e.e.Restore(k, v); err != nil {
			t.Error(err)
		}
		if err := e.e.Restore(k, v[:len(v)-1]); !errors.Is(err, errRecord) {
			t.Error(err)
		}
	}
	if lost := e.e.RestoreWindows(j.windows(true)); lost != 0 {
		t.Errorf("%d are lost", lost)
	}
	want(t, e.send(t, 6, deviceID, "", ""), `cloud {"t":9} vanished`)
	if s := e.e.Sums(); s.Held != 3 || len(j.records) != 1 || j.windows(false).Waiting != 2 {
		t.Errorf("%+v, %d records, %d in windows", s, len(j.records), j.windows(false).Waiting)
	}
	e.send(t, 10_002, deviceID, "", "")
	if s := e.e.Sums(); s.Held != 2 {
		t.Errorf("%+v", s)
	}
	got := e.send(t, 60_001, deviceID, "", "")
	if strings.Count(got, `"msg"`) != 2 || len(j.records) != 0 || j.windows(false).Waiting != 0 {
		t.Errorf("%s, %d records, %d in windows", got, len(j.records), j.windows(false).Waiting)
	}
	j.full = errors.New("no space left")
	want(t, e.post(t, 70_000, `{"t":7}`), `cloud {"t":7} failure; failed minute`)
}

// TestRun: the goroutine of Run lets windows go when their time is over, and ends.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEdge(t, Options{})
		e.e.opt.Now = func() int64 { return time.Now().UnixMilli() }
		e.chain(t, rootID, true, []string{minute, push}, "0>1:Success")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.e.Run(ctx, nil); close(done) }()
		synctest.Wait()
		known, err := e.e.Handle(&Message{
			Type: PostTelemetry, Originator: Entity{Type: "DEVICE"}, Time: time.Now().UnixMilli(),
			Data: `{"t":1}`,
		}, nil)
		if !known || err != nil {
			t.Error(known, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := e.e.Sums(); s.Held != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := e.e.Sums(); s.Held != 0 || s.Accepted != 1 {
			t.Errorf("%+v", s)
		}
		stop()
		<-done
	})
}

// quiet is a registry and an outlet for any number of goroutines.
type quiet struct {
	*Trial
	mu     sync.Mutex
	pushed map[Entity][]string
	refuse error // what Call gives
}

func (q *quiet) Profile(*Entity) (string, proto.UUID, bool) { return "p", proto.UUID{}, true }

func (q *quiet) Attribute(*Entity, string, string) (Stored, bool) { return Stored{}, false }

func (q *quiet) Push(e *Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushed[e.Entity] = append(q.pushed[e.Entity], e.Data)
	return nil
}

func (q *quiet) Instead(*Message, Why) error { return nil }

func (q *quiet) Failed(string, string) {}

func (q *quiet) Call(*Call) error { return q.refuse }

// TestManyGoroutines: the messages of a device go up in their order, whatever else happens at the
// same time, and none is lost from the sums.
func TestManyGoroutines(t *testing.T) {
	const devices, each = 8, 100
	q := &quiet{Trial: testEdge(t, Options{}), pushed: map[Entity][]string{}}
	e := New(q, q, Options{Now: func() int64 { return time.Now().UnixMilli() }})
	typed := `filter.TbMsgTypeSwitchNode|s|{}`
	call := `rpc.TbSendRPCRequestNode|c|{"timeoutInSeconds":1}`
	chains := [2][]byte{
		metadataOf(rootID, []string{typed, push, call, minute}, "0>1:Post telemetry", "0>2:RPC request to device", "0>3:Other"),
		metadataOf(rootID, []string{ack, typed, push, call, minute}, "0>1:Success", "1>2:Post telemetry",
			"1>3:RPC request to device", "1>4:Other"),
	}
	if err := e.Head([]byte(`{"id":{"id":"` + rootID + `"},"root":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Metadata(chains[0]); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var posts, others sync.WaitGroup
	others.Go(func() { e.Run(ctx, nil) })
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := e.Metadata(chains[i%2]); err != nil {
				t.Error(err)
			}
			e.Answer(uint32(i), `{}`, "")
			e.Sums()
		}
	})
	for d := range devices {
		posts.Go(func() {
			who := Entity{"DEVICE", proto.UUID{15: byte(d)}}
			for i := range each {
				for _, typ := range []string{PostTelemetry, CallToDevice, "OTHER"} {
					m := &Message{Type: typ, Originator: who, Data: fmt.Sprintf(`{"i":%d,"method":"m","params":1}`, i)}
					if known, err := e.Handle(m, nil); !known || err != nil {
						t.Error(known, err)
					}
				}
			}
		})
	}
	posts.Wait()
	stop()
	others.Wait()
	s := e.Sums()
	if s.Received != 3*devices*each || s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) {
		t.Errorf("%+v", s)
	}
	for who, list := range q.pushed {
		if len(list) != each {
			t.Errorf("%v: %d", who, len(list))
		}
		for i, data := range list {
			if !strings.HasPrefix(data, fmt.Sprintf(`{"i":%d,`, i)) {
				t.Fatalf("%v: %s at %d", who, data, i)
			}
		}
	}
}
