package rules

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
)

const (
	deltaNode = `metadata.CalculateDeltaNode|delta|{"inputValueKey":"n","outputValueKey":"d","useCache":true,"addPeriodBetweenMsgs":true,` +
		`"periodValueKey":"p"}`
	eachMinute = `telemetry.TbMsgTimeseriesNode|save|{"processingSettings":{"type":"DEDUPLICATE","deduplicationIntervalSecs":60}}`
	fence      = `geo.TbGpsGeofencingActionNode|g|{"latitudeKeyName":"lat","longitudeKeyName":"lon","perimeterType":"CIRCLE",` +
		`"centerLatitude":50,"centerLongitude":10,"range":2,"rangeUnit":"KILOMETER","reportPresenceStatusOnEachMessage":false}`
)

// again is an edge behind a crash of e: what the journal has, and nothing else.
func again(t *testing.T, e *Trial, j *journal) *Trial {
	t.Helper()
	next := testEdge(t, Options{Journal: j})
	next.e.chains, next.e.root = map[proto.UUID]*chain{}, e.e.root
	next.now = e.now
	return next
}

func restore(t *testing.T, e *Trial, j *journal) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(j.records)) {
		if err := e.e.Restore(k, j.records[k]); err != nil {
			t.Error(err)
		}
	}
}

// TestMemories: what nodes remember of entities survives a restart, and a change of the chain that
// leaves them as they are; of a node that is gone nothing is left in the journal.
func TestMemories(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	nodes := []string{deltaNode, eachMinute, fence, push}
	links := []string{"0>1:Success", "1>2:Success", "2>3:Entered", "2>3:Left"}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	want(t, e.post(t, 0, `{"n":5,"lat":50,"lon":10}`),
		`cloud {"n":5,"lat":50,"lon":10,"d":0,"p":0}; saved {"n":5,"lat":50,"lon":10,"d":0,"p":0}`)
	want(t, e.post(t, 1000, `{"n":7,"lat":50,"lon":10}`), ``)
	if len(j.records) != 3 {
		t.Fatalf("%d records", len(j.records))
	}
	for range 2 {
		e = again(t, e, j)
		e.chain(t, rootID, true, nodes, links...)
		restore(t, e, j)
	}
	want(t, e.post(t, 2000, `{"n":10,"lat":50,"lon":10}`), ``) // neither saved again, nor entered again
	e.chain(t, rootID, true, append(nodes, ack), links...)
	want(t, e.post(t, 61_500, `{"n":14,"lat":50.1,"lon":10}`),
		`cloud {"n":14,"lat":50.1,"lon":10,"d":4,"p":59500}; saved {"n":14,"lat":50.1,"lon":10,"d":4,"p":59500}`)
	e.chain(t, rootID, true, nodes[:1])
	if len(j.records) != 1 {
		t.Errorf("%d records are left of one node", len(j.records))
	}
	cells := e.e.cells.Load()
	e.chain(t, rootID, true, nodes[3:])
	if len(j.records) != 0 || cells == 0 || e.e.cells.Load() != 0 {
		t.Errorf("%d records, %d bytes, %d before", len(j.records), e.e.cells.Load(), cells)
	}
}

// TestMemoriesAreBounded: a node forgets one entity for another when all remember too much.
func TestMemoriesAreBounded(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, []string{deltaNode})
	for i := range 5000 {
		m := &Message{Type: PostTelemetry, Originator: Entity{"DEVICE", proto.UUID{1, byte(i >> 8), byte(i)}}, Data: `{"n":1}`}
		if known, err := e.e.Handle(m, nil); !known || err != nil {
			t.Fatal(known, err)
		}
	}
	n := len(e.e.chains[e.e.root].first.mem.cells)
	if n != maxCells/320+1 || len(j.records) != n || e.e.cells.Load() > maxCells+320 {
		t.Errorf("%d entities, %d records, %d bytes", n, len(j.records), e.e.cells.Load())
	}
}

// TestNotesKeepOrder: an older note that is staged late does not replace a newer one.
func TestNotesKeepOrder(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	var notes noted
	e := testEdge(t, Options{Journal: &notes})
	e.chain(t, rootID, true, []string{deltaNode})
	e.post(t, 0, `{"n":1}`)
	e.post(t, 1, `{"n":2}`)
	j.Note(notes[1])
	j.Note(notes[0])
	for _, r := range j.records {
		if c, err := readCell(r); err != nil || c.value != 2 {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if len(notes) != 2 || len(j.records) != 1 {
		t.Errorf("%d notes, %d records", len(notes), len(j.records))
	}
}

// noted is a journal that has the notes of messages, and stages none.
type noted []*Note

func (n *noted) Keep(string, []byte) error { return nil }

func (n *noted) Forget(string) error { return nil }

func (n *noted) Window(uint8, []byte) error { return nil }

func (n *noted) Note(note *Note) { *n = append(*n, note) }

// FuzzCell: what a record says comes back, anything else is an error.
func FuzzCell(f *testing.F) {
	f.Add((&cell{value: -1.5, time: 7, word: "Entered+", intervals: []int64{3, 9, 1}}).record())
	f.Add([]byte{cellForm})
	f.Add([]byte(strings.Repeat("\x02", 300)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readCell(b)
		if err != nil {
			return
		}
		back, err := readCell(c.record())
		if err != nil || !reflect.DeepEqual(c.record(), back.record()) {
			t.Errorf("%+v became %+v: %v", c, back, err)
		}
	})
}
