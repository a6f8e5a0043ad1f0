package status

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// Events is where the page of cloud events looks: the queue's files, read anew for each request, nothing is kept. Its functions are called
// from many goroutines and must not wait.
type Events struct {
	Queue string                         // the queue's directory
	Name  func(proto.UUID) (name string) // of a device, "" if unknown
	Dead  func(offset uint64) bool       // whether the event at offset is a dead letter

	mu sync.Mutex // one reader at a time: a reader needs a buffer, and reads up to a segment to find its place
}

const (
	// eventsDefault and eventsMost bound the offsets of one answer.
	eventsDefault = 50
	eventsMost    = 200
	// eventContent bounds the content shown of one event, in bytes of JSON, and eventDecoded what is decoded for that, in bytes of the event.
	eventContent = 1024
	eventDecoded = 16 << 10
)

// Statuses of an event (specification, "Event Status"), beside these what became of those that the identity counts apart.
const (
	pending  = "PENDING"
	deployed = "DEPLOYED" // behind the committed offset; dropped ones that are still in the files among them
	deadOne  = "DEAD"
	damaged  = "DAMAGED" // unreadable, from Offset to Last
)

// EventList is the JSON of GET /api/edge/events: what is on flash at the offsets from From to From+Limit-1, the oldest first. Offsets of the
// queue's own frames, and of events removed by thinning, are left out.
type EventList struct {
	From      uint64      `json:"from"`
	Limit     uint64      `json:"limit"`
	Committed uint64      `json:"committed"`
	Last      uint64      `json:"last"`             // offset of the newest durable frame
	Hidden    bool        `json:"hidden,omitempty"` // the contents are shown to requests from this machine only
	Events    []EventLine `json:"events"`
}

// EventLine is one event for people. Content is a JSON object, its secrets masked; null if the event is too large to show, or does not decode.
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

func serveEvents(w http.ResponseWriter, r *http.Request, src Source) {
	if src.Events == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	s := src.Snapshot()
	limit, ok := bounded(r.FormValue("limit"), eventsDefault, 1, eventsMost)
	from, ok2 := bounded(r.FormValue("from"), s.LastOffset-min(s.LastOffset, limit)+1, 0, 1<<63)
	if !ok || !ok2 {
		http.Error(w, "from is an offset, the newest events come without it; limit is 1 to "+strconv.Itoa(eventsMost), http.StatusBadRequest)
		return
	}
	list, err := src.Events.list(max(from, 1), limit, &s)
	var data []byte
	if err == nil && !local(r.RemoteAddr) {
		list.hide()
	}
	if err == nil {
		data, err = json.Marshal(list)
	}
	if err != nil {
		http.Error(w, "the queue's files cannot be read: "+clean(err.Error()), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n'))
}

// local tells whether a request comes from this machine. What devices measure is nobody's business who merely reaches the port: elsewhere the
// contents are left out.
func local(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

func (l *EventList) hide() {
	l.Hidden = true
	for i := range l.Events {
		l.Events[i].Content = nil
	}
}

// bounded reads a number; an empty text is the usual one.
func bounded(text string, usual, least, most uint64) (n uint64, ok bool) {
	if text == "" {
		return usual, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && n >= least && n <= most
}

// list reads the offsets from from on. When they were dropped from the front of the queue long ago, it begins with what there is.
func (e *Events) list(from, limit uint64, s *agent.Snapshot) (*EventList, error) {
	l := &EventList{From: from, Limit: limit, Committed: s.Committed, Last: s.LastOffset, Events: []EventLine{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	first := true
	err := wal.Walk(e.Queue, from, func(r *wal.Record) bool {
		if first && r.Offset <= s.LastOffset {
			l.From = max(l.From, r.Offset)
		}
		first = false
		if r.Offset > s.LastOffset || r.Offset-l.From >= limit { // behind the last there may be what is not durable yet
			return false
		}
		switch {
		case r.Found == wal.FoundEvent:
			l.Events = append(l.Events, e.line(r, s))
		case r.Found == wal.FoundControl, r.Found == wal.FoundThinned, r.Last < r.Offset:
		case uint64(len(l.Events)) < 2*limit:
			l.Events = append(l.Events, EventLine{Offset: r.Offset, Last: r.Last, Status: damaged})
		}
		return r.Last < l.From+limit-1 || r.Last < r.Offset
	})
	return l, err
}

func (e *Events) line(r *wal.Record, s *agent.Snapshot) EventLine {
	kind, at := proto.Kind(r.Event.Kind), time.UnixMilli(r.Event.Time).UTC()
	l := EventLine{
		Offset: r.Offset, Status: deployed, Time: &at, Action: proto.Action(r.Event.Action).String(), Type: kind.String(),
		EntityType: kind.EntityType(), Entity: proto.FormatUUID(r.Event.Entity), Name: e.Name(r.Event.Entity), Bytes: len(r.Event.Fragment),
	}
	if r.Offset > s.Committed {
		l.Status = pending
	} else if e.Dead(r.Offset) {
		l.Status = deadOne
	}
	if l.Bytes > eventDecoded {
		return l
	}
	content, entityType, err := proto.AppendContent(nil, r.Event.Fragment)
	if l.EntityType == "" {
		l.EntityType = entityType
	}
	if err == nil && len(content) <= eventContent && json.Valid(content) {
		l.Content = content
	}
	return l
}
