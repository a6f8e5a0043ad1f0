package status

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/wal"
)

// Events is where GET /api/edge/events looks: the queue's files, read anew for each request;
// nothing is kept. Its functions are called from many goroutines and must not wait.
type Events struct {
	Queue string                         // the queue's directory
	Name  func(proto.UUID) (name string) // of a device, "" if unknown
	Dead  func(offset uint64) bool       // whether the event at offset is a dead letter
	// Former reports whether a passed event of an entity is kept as a former edge's; nil: none is.
	Former func(entity proto.UUID, offset uint64) bool

	mu sync.Mutex // one reader at a time: each needs a buffer, and may read a whole segment to find an offset
}

const (
	// eventsDefault and eventsMost bound the offsets of one answer.
	eventsDefault = 50
	eventsMost    = 200
	// eventContent bounds the content shown of one event, in bytes of JSON, and eventDecoded what
	// is decoded for that, in bytes of the event.
	eventContent = 1024
	eventDecoded = 16 << 10
	// eventName bounds the name shown of an entity, in bytes.
	eventName = 512
)

// Statuses of an event. Beside PENDING and DEPLOYED they name what the counters count apart.
const (
	pending  = "PENDING"
	deployed = "DEPLOYED" // not behind the committed offset; so are dropped ones still in the files
	deadOne  = "DEAD"     // a dead letter, or an event of a former edge that is kept
	damaged  = "DAMAGED"  // unreadable, from Offset to Last
)

// EventList is the JSON of GET /api/edge/events: what is on flash at the offsets from From to
// From+Limit-1, the oldest first. Offsets of the queue's own frames, and of events removed by
// thinning, are left out.
type EventList struct {
	From      uint64      `json:"from"`
	Limit     uint64      `json:"limit"`
	Committed uint64      `json:"committed"`
	Last      uint64      `json:"last"`             // offset of the newest durable frame
	Hidden    bool        `json:"hidden,omitempty"` // contents were left out: hide
	Events    []EventLine `json:"events"`
}

// EventLine is one event for people. Content is a JSON object, its secrets masked; null if the
// event is too large to show, or does not decode.
type EventLine struct {
	Offset     uint64          `json:"offset"`
	Last       uint64          `json:"last,omitempty"` // of a damaged stretch
	Status     string          `json:"status"`
	Time       *time.Time      `json:"time,omitempty"` // when it was accepted
	Action     string          `json:"action,omitempty"`
	Type       string          `json:"type,omitempty"` // the kind of the event
	EntityType string          `json:"entity_type,omitempty"`
	Entity     string          `json:"entity,omitempty"`
	Name       string          `json:"name,omitempty"` // of the entity, if it is known
	Bytes      int             `json:"bytes,omitempty"`
	Content    json.RawMessage `json:"content,omitempty"`
}

// serveEvents answers with what the queue holds; contents only to administrators.
func serveEvents(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers) {
	s := src.Snapshot()
	limit, ok := number(query.Get("limit"), eventsDefault)
	from, ok2 := number(query.Get("from"), s.LastOffset-min(s.LastOffset, limit)+1)
	if !ok || !ok2 || limit-1 >= eventsMost || from > 1<<63 {
		http.Error(w, "from is an offset, the newest events come without it; limit is 1 to 200", http.StatusBadRequest)
		return
	}
	l := EventList{From: max(from, 1), Limit: limit, Committed: s.Committed, Last: s.LastOffset, Events: []EventLine{}}
	answer, ok := going.take(w, r, eventsAnswer)
	if !ok {
		return
	}
	_ = answer.pass.Ours() // a slow flash is not the reader's fault
	err := src.Events.read(&l)
	answer.pass.Theirs()
	if u, ok := src.Login.viewer(r); !ok || !u.Admin {
		l.hide()
	}
	data, _ := json.Marshal(&l) // nothing in it can fail
	if err != nil {
		answer.pass.Close()
		http.Error(w, clean(err.Error()), http.StatusServiceUnavailable)
		return
	}
	answer.send("application/json", data)
}

func (l *EventList) hide() {
	l.Hidden = true
	for i := range l.Events {
		l.Events[i].Content = nil
	}
}

// number reads a number; usual stands for an empty text.
func number(text string, usual uint64) (n uint64, ok bool) {
	if text == "" {
		return usual, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// read fills l with what is at its offsets. If these were dropped from the front of the queue, l
// begins with the oldest that is there.
func (e *Events) read(l *EventList) error {
	e.mu.Lock()
	first := true
	err := wal.Walk(e.Queue, l.From, func(r *wal.Record) bool {
		if r.Offset > l.Last { // not durable yet
			return false
		}
		if first {
			first, l.From = false, max(l.From, r.Offset)
		}
		if r.Offset-l.From >= l.Limit {
			return false
		}
		switch {
		case r.Found == wal.FoundEvent:
			l.Events = append(l.Events, e.line(r, l.Committed))
		case r.Found != wal.FoundControl && r.Found != wal.FoundThinned && r.Last >= r.Offset:
			l.Events = append(l.Events, EventLine{Offset: r.Offset, Last: r.Last, Status: damaged})
		}
		return true
	})
	e.mu.Unlock()
	return err
}

// status is the status of the event of r.
func (e *Events) status(r *wal.Record, committed uint64) string {
	switch {
	case r.Offset > committed:
		return pending
	case e.Dead(r.Offset) || e.Former != nil && e.Former(r.Event.Entity, r.Offset):
		return deadOne
	}
	return deployed
}

func (e *Events) line(r *wal.Record, committed uint64) EventLine {
	kind, at := proto.Kind(r.Event.Kind), time.UnixMilli(r.Event.Time).UTC()
	l := EventLine{
		Offset: r.Offset, Time: &at, Action: proto.Action(r.Event.Action).String(), Type: kind.String(),
		Entity: proto.FormatUUID(r.Event.Entity), Name: plain.Cut(e.Name(r.Event.Entity), eventName), Bytes: len(r.Event.Fragment),
	}
	l.Status = e.status(r, committed)
	if l.Bytes <= eventDecoded {
		content, entityType, err := proto.AppendContent(nil, r.Event.Fragment)
		if l.EntityType = entityType; err == nil && len(content) <= eventContent {
			l.Content = content
		}
	}
	if l.EntityType == "" {
		l.EntityType = kind.EntityType()
	}
	return l
}
