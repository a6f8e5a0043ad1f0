package status

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Bounds of a search.
const (
	searchDefault  = 50
	searchMost     = 100
	searchWindow   = 2048              // offsets that are read in order at a time
	searchLooked   = 16 * searchWindow // offsets of one answer
	searchPatience = 2 * time.Second   // after which an answer takes no further window
	searchWord     = 128               // bytes of a text that is looked for
	searchSeen     = 256               // entities of one answer of which it is known whether the user sees them
)

// Found is the JSON of GET /api/edgesync/search: events that match, the newest first.
type Found struct {
	Committed uint64      `json:"committed"`
	Last      uint64      `json:"last"`             // offset of the newest durable frame
	Next      uint64      `json:"next"`             // go on from here (before); 0: there is nothing older
	Looked    uint64      `json:"looked"`           // offsets
	Hidden    bool        `json:"hidden,omitempty"` // contents were left out
	Events    []EventLine `json:"events"`
}

// search is what is looked for, by whom.
type search struct {
	before       uint64 // offset
	limit        int
	device       string // in the name, lower case; or an id
	action       string
	status       string
	since, until int64  // milliseconds; 0: open
	text         string // in the content or the name, lower case

	user    User
	content bool // the user sees contents
	seen    map[proto.UUID]bool
}

// parseSearch reads a query. words say what is wrong with it.
func parseSearch(q url.Values) (s search, words string) {
	s.device, s.text = strings.ToLower(q.Get("device")), strings.ToLower(q.Get("text"))
	s.action, s.status = q.Get("action"), q.Get("status")
	var ok [4]bool
	var limit, since, until uint64
	s.before, ok[0] = number(q.Get("before"), 1<<63)
	limit, ok[1] = number(q.Get("limit"), searchDefault)
	since, ok[2] = number(q.Get("since"), 0)
	until, ok[3] = number(q.Get("until"), 0)
	s.limit, s.since, s.until = int(min(limit, searchMost+1)), int64(since), int64(until)
	switch {
	case ok != [4]bool{true, true, true, true} || since > 1<<53 || until > 1<<53 || s.before > 1<<63:
		return s, "before is an offset; since and until are milliseconds since the epoch"
	case limit-1 >= searchMost:
		return s, "limit is 1 to 100"
	case max(len(s.device), len(s.text), len(s.action)) > searchWord:
		return s, "a text to look for has at most 128 bytes"
	case s.status != "" && s.status != pending && s.status != deployed && s.status != deadOne && s.status != damaged:
		return s, "status is PENDING, DEPLOYED, DEAD or DAMAGED"
	}
	return s, ""
}

// serveSearch answers with events of the queue that match. Who sees no contents does not find by
// them; a user of a customer finds what is the customer's.
func serveSearch(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers) {
	s, words := parseSearch(query)
	if words != "" {
		http.Error(w, words, http.StatusBadRequest)
		return
	}
	s.user, s.content = src.Login.viewer(r)
	if s.text != "" && !s.content {
		http.Error(w, "log in to look for a text", http.StatusUnauthorized)
		return
	}
	answer, ok := going.take(w, r, eventsAnswer)
	if !ok {
		return
	}
	snap := src.Snapshot()
	f := Found{Committed: snap.Committed, Last: snap.LastOffset, Hidden: !s.content, Events: []EventLine{}}
	_ = answer.pass.Ours()
	err := src.Events.search(&f, &s, r)
	answer.pass.Theirs()
	if err != nil {
		answer.pass.Close()
		http.Error(w, clean(err.Error()), http.StatusServiceUnavailable)
		return
	}
	data, _ := json.Marshal(&f) // nothing in it can fail
	answer.send("application/json", data)
}

// search fills f, window by window from the newest to older ones.
func (e *Events) search(f *Found, s *search, r *http.Request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	begun := time.Now()
	end := min(s.before, f.Last+1) // behind the window
	switch s.status {
	case deployed, deadOne:
		end = min(end, f.Committed+1)
	}
	oldest := uint64(1)
	if s.status == pending {
		oldest = f.Committed + 1
	}
	if s.until != 0 && s.before > f.Last {
		var err error
		if end, err = e.skip(end, s.until); err != nil {
			return err
		}
	}
	wide := uint64(2 * s.limit) // where much matches, a small window has enough
	for f.Next = end; f.Next > oldest; wide = min(2*wide, searchWindow) {
		from := max(oldest, f.Next-min(f.Next, wide))
		lines, first, passed, err := e.window(f, s, from, f.Next)
		if err != nil {
			return err
		}
		f.Looked += f.Next - from
		for i := len(lines) - 1; i >= 0 && len(f.Events) < s.limit; i-- {
			f.Events = append(f.Events, lines[i])
			f.Next = lines[i].Offset
		}
		if len(f.Events) == s.limit {
			return nil
		}
		f.Next = from
		if passed || first > from { // what is older is too old, or was dropped
			break
		}
		if f.Looked >= searchLooked || time.Since(begun) > searchPatience || r.Context().Err() != nil {
			return nil
		}
	}
	f.Next = 0
	return nil
}

// window finds what matches at the offsets from from to end-1: the last of them, at most as many as
// are wanted. first is the oldest offset that is there; passed says that all are older than since.
func (e *Events) window(f *Found, s *search, from, end uint64) (lines []EventLine, first uint64, passed bool, err error) {
	some := false
	passed = s.since != 0
	err = wal.Walk(e.Queue, from, func(r *wal.Record) bool {
		if !some {
			some, first = true, r.Offset
		}
		if r.Offset >= end {
			return false
		}
		var l EventLine
		switch {
		case r.Found == wal.FoundEvent:
			passed = passed && r.Event.Time < s.since
			if !e.matches(r, s, f.Committed) {
				return true
			}
			l = e.line(r, f.Committed)
			if !s.agrees(&l) {
				return true
			}
		case r.Found != wal.FoundControl && r.Found != wal.FoundThinned && r.Last >= r.Offset:
			if s.narrow() || s.status != "" && s.status != damaged {
				return true
			}
			l = EventLine{Offset: r.Offset, Last: r.Last, Status: damaged}
		default:
			return true
		}
		if len(lines) == s.limit {
			copy(lines, lines[1:])
			lines = lines[:len(lines)-1]
		}
		lines = append(lines, l)
		return true
	})
	if !some {
		first = from
	}
	return lines, first, passed && some, err
}

// narrow reports whether the search is for events, of which damage has nothing to show.
func (s *search) narrow() bool {
	return s.device != "" || s.action != "" || s.since != 0 || s.until != 0 || s.text != "" || !s.user.Admin
}

// matches says what can be told without taking the event apart.
func (e *Events) matches(r *wal.Record, s *search, committed uint64) bool {
	id := r.Event.Entity
	switch {
	case s.since != 0 && r.Event.Time < s.since, s.until != 0 && r.Event.Time >= s.until:
		return false
	case s.action != "" && proto.Action(r.Event.Action).String() != s.action:
		return false
	case s.status == damaged, s.status != "" && s.status != e.status(r, committed):
		return false
	case s.device != "" && !contains(e.Name(id), s.device) && proto.FormatUUID(id) != s.device:
		return false
	case s.user.Admin || !s.content:
		return true
	}
	sees, known := s.seen[id]
	if !known {
		sees = s.user.Sees(id)
		if s.seen == nil || len(s.seen) >= searchSeen {
			s.seen = make(map[proto.UUID]bool)
		}
		s.seen[id] = sees
	}
	return sees
}

// agrees looks into the event, and hides what the user may not see.
func (s *search) agrees(l *EventLine) bool {
	if s.text != "" && !contains(l.Name, s.text) && !contains(l.Type, s.text) && !bytes.Contains(bytes.ToLower(l.Content), []byte(s.text)) {
		return false
	}
	if !s.content {
		l.Content = nil
	}
	return true
}

// skip finds an offset at most a window behind the last event before a time, by halves: events are
// in the order of their times, but for jumps of the clock.
func (e *Events) skip(end uint64, until int64) (uint64, error) {
	low, most := uint64(1), end
	for end-low > searchWindow {
		middle := low + (end-low)/2
		at := int64(0)
		err := wal.Walk(e.Queue, middle, func(r *wal.Record) bool {
			at = r.Event.Time
			return at == 0
		})
		if err != nil {
			return 0, err
		}
		if at >= until || at == 0 {
			end = middle
		} else {
			low = middle
		}
	}
	return min(end+searchWindow, most), nil
}
