package rest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/wal"
)

// Queue is where the events of GET edge/events lie.
type Queue struct {
	Dir string
	// Ends are the committed offset and that of the newest durable frame.
	Ends func() (committed, last uint64)
}

// Bounds of a page of events.
const (
	eventBody    = 16 << 10        // bytes of an event whose content is shown; of a larger one body is null
	eventMarks   = 4096            // matches between two remembered offsets
	eventsLooked = 2 * time.Second // after which a page counts no further; totalElements is too low then
	eventsSearch = 128             // bytes of a text that is looked for
)

// edgeEvent is ThingsBoard's EdgeEvent, with the name of the entity and the status beside it.
type edgeEvent struct {
	ID struct {
		ID string `json:"id"`
	} `json:"id"`
	CreatedTime int64           `json:"createdTime"`
	SeqID       uint64          `json:"seqId"` // the offset
	TenantID    reference       `json:"tenantId"`
	EdgeID      reference       `json:"edgeId"`
	Action      string          `json:"action"`
	EntityID    string          `json:"entityId"`
	UID         *string         `json:"uid"`
	Type        string          `json:"type"`
	Body        json.RawMessage `json:"body"`
	Name        string          `json:"entityName,omitempty"`
	Status      string          `json:"status"` // PENDING or DEPLOYED
}

// eventQuery is which events are asked for.
type eventQuery struct {
	*call
	from, to int64 // milliseconds, both included
	text     string
	until    time.Time // no further look after that
}

func (q *eventQuery) matches(e *wal.Event) bool {
	if e.Time < q.from || e.Time > q.to {
		return false
	}
	if q.text == "" {
		return true
	}
	d, device := q.Registry.ByID(e.Entity)
	typ := proto.Kind(e.Kind).EntityType()
	if typ == "" && device { // of data; what it says itself would have to be decoded
		typ = proto.DeviceEntity
	}
	for _, s := range []string{typ, proto.Action(e.Action).String(), d.Name} {
		if strings.Contains(strings.ToLower(s), q.text) {
			return true
		}
	}
	return false
}

// each calls fn for the events that match, from an offset on, with their number among them.
func (q *eventQuery) each(from, last uint64, n int, fn func(n int, r *wal.Record) bool) error {
	looked := 0
	return wal.Walk(q.Queue.Dir, from, func(r *wal.Record) bool {
		if looked++; r.Offset > last || looked%1024 == 0 && time.Now().After(q.until) {
			return false
		}
		if r.Found != wal.FoundEvent || !q.matches(&r.Event) {
			return true
		}
		n++
		return fn(n-1, r)
	})
}

// events is GET of the events that lie in the queue, as of ThingsBoard's cloud events: those that
// wait and, while their segments are there, those that the cloud has.
func (c *call) events() (any, error) {
	if c.Queue == nil {
		return nil, errNotFound
	}
	size, number, err := c.paging()
	if err != nil {
		return nil, err
	}
	q := eventQuery{call: c, to: math.MaxInt64, text: strings.ToLower(c.query("textSearch")), until: time.Now().Add(eventsLooked)}
	for name, at := range map[string]*int64{"startTime": &q.from, "endTime": &q.to} {
		if s := c.query(name); s != "" {
			if *at, err = strconv.ParseInt(s, 10, 64); err != nil {
				return nil, bad(name + " is a time in milliseconds")
			}
		}
	}
	order := c.query("sortOrder")
	switch by := c.query("sortProperty"); {
	case by != "" && by != "createdTime" && by != "seqId":
		return nil, bad("sortProperty is createdTime or seqId")
	case order != "" && order != "ASC" && order != "DESC":
		return nil, bad("sortOrder is ASC or DESC")
	case len(q.text) > eventsSearch:
		return nil, bad("textSearch is too long")
	}
	committed, last := c.Queue.Ends()
	var marks []uint64 // offsets of each eventMarks-th match
	total := 0
	err = q.each(1, last, 0, func(n int, r *wal.Record) bool {
		if n%eventMarks == 0 {
			marks = append(marks, r.Offset)
		}
		total = n + 1
		return true
	})
	if err != nil {
		return nil, err
	}
	// The numbers from first to end-1 are the page.
	first := min(number*size, total)
	end := min(first+size, total)
	if order != "ASC" {
		first, end = total-end, total-first
	}
	var list [][]byte
	bytes := 0
	if first < end {
		q.until = time.Now().Add(eventsLooked)
		mark := first / eventMarks
		err = q.each(marks[mark], last, mark*eventMarks, func(n int, r *wal.Record) bool {
			if n >= first {
				text := c.edgeEvent(r, committed)
				list, bytes = append(list, text), bytes+len(text)
			}
			return n+1 < end && bytes < maxAnswer
		})
		if err != nil {
			return nil, err
		}
	}
	p := page{Elements: total, Pages: (total + size - 1) / size}
	p.More = number+1 < p.Pages
	for i := range list {
		if order != "ASC" {
			i = len(list) - 1 - i
		}
		p.add(list[i])
	}
	return p.encode(), nil
}

// edgeEvent is an event as JSON text.
func (c *call) edgeEvent(r *wal.Record, committed uint64) []byte {
	e, w := &r.Event, edgeEvent{
		CreatedTime: r.Event.Time, SeqID: r.Offset, Action: proto.Action(r.Event.Action).String(),
		EntityID: proto.FormatUUID(r.Event.Entity), Type: proto.Kind(r.Event.Kind).EntityType(), Status: "DEPLOYED",
	}
	if r.Offset > committed {
		w.Status = "PENDING"
	}
	if edge := c.Registry.Edge(); edge != nil {
		w.TenantID = ref("TENANT", proto.UUIDOf(edge.TenantIdMSB, edge.TenantIdLSB))
		w.EdgeID = ref("EDGE", proto.UUIDOf(edge.EdgeIdMSB, edge.EdgeIdLSB))
	}
	// An id that stays: the time and the offset.
	var id proto.UUID
	binary.BigEndian.PutUint64(id[:], uint64(e.Time)<<16)
	binary.BigEndian.PutUint64(id[8:], r.Offset)
	id[6], id[8] = 0x80, 0x80
	w.ID.ID = proto.FormatUUID(id)
	if d, ok := c.Registry.ByID(e.Entity); ok {
		w.Name = plain.Cut(d.Name, 255)
	}
	if len(e.Fragment) <= eventBody {
		if content, entityType, err := proto.AppendContent(nil, e.Fragment); err == nil && json.Valid(content) {
			w.Body = content
			if entityType != "" {
				w.Type = entityType
			}
		}
	}
	text, _ := json.Marshal(&w) // nothing in it can fail
	return text
}
