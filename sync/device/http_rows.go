package device

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/refusal"
	"edgesync/sync/share"
)

// Bounds of telemetry that is stored as it comes.
const (
	wholeBody = 1 << 20   // bytes; a body of at most as many is stored all or not at all
	rowWindow = 128 << 10 // bytes of text in memory; more only for an element that is larger
)

// rows is telemetry beyond wholeBody: an array whose elements are stored as they come, in groups
// that are durable one after the other. One goroutine uses it.
type rows struct {
	h      *HTTP
	w      http.ResponseWriter
	r      *http.Request
	b      *body
	device proto.UUID
	name   string // of the device
	state  payload.Rows
	now    int64 // for elements without a time of their own
	stored int   // elements
}

// run stores what has come and what comes, and answers.
func (s *rows) run() {
	for window := rowWindow; ; {
		err := s.b.shrink(window)
		if err == nil {
			err = s.b.fill(window, s.b.limit)
		}
		moved := err == nil
		for moved && !s.state.Done() {
			if moved, err = s.store(); err != nil {
				break
			}
		}
		switch {
		case err != nil:
			s.fail(err)
			return
		case s.state.Done():
			s.w.WriteHeader(http.StatusOK)
			return
		case len(s.b.text) >= window: // with one element
			window = min(2*window, payload.MaxElement)
		default:
			window = rowWindow
		}
	}
}

// store parses elements at the beginning of what has come and stores them. moved is false if more
// must come first. The parser is the large bodies' own, of which there are few: what waits for its
// sender keeps none.
func (s *rows) store() (moved bool, err error) {
	began := time.Now()
	if err := s.b.ours(); err != nil {
		return false, err
	}
	done := s.h.work(s.r, len(s.b.text))
	if done == nil {
		return false, errSlowMedium
	}
	defer func() {
		done()
		s.b.theirs(time.Since(began))
	}()
	p := s.h.parsers.Get().(*payload.Parser)
	last := s.b.whole || len(s.b.text) >= payload.MaxElement
	events, used, err := p.Next(&s.state, s.b.ready(), last, s.device, s.now)
	if err == nil && len(events) > 0 {
		if err := s.h.Intake.Accept(s.r.Context(), events); err != nil {
			return false, &notStored{err} // the intake may still be reading what the parser holds
		}
	}
	s.stored = s.state.Elements()
	s.b.drop(used)
	s.h.parsers.Put(p)
	return used > 0, err
}

// notStored is an error of the intake.
type notStored struct{ error }

func (e *notStored) Unwrap() error { return e.error }

var errSlowMedium = errors.New("the medium is slow")

// fail answers with an error, and says what is stored all the same.
func (s *rows) fail(err error) {
	kept := "; the first " + strconv.Itoa(s.stored) + " elements are stored"
	head := s.w.Header()
	if !s.b.whole {
		head.Set("Connection", "close") // the rest of the body is not read
	}
	var wrong *payload.Error
	var refused *notStored
	switch {
	case errors.As(err, &refused):
		s.h.refuseSome(s.w, s.r, s.name, refused.error, kept)
	case errors.Is(err, errSlowMedium):
		s.h.busy(s.w, s.r, s.device, storageSlow, fmt.Errorf("%w%s", err, kept))
	case errors.Is(err, share.ErrEvicted), errors.Is(err, share.ErrFull):
		s.h.busy(s.w, s.r, s.device, bodiesWait, fmt.Errorf("%w%s", err, kept))
	case errors.Is(err, errBodySize):
		s.wrong(http.StatusRequestEntityTooLarge, refusal.TooLarge, largerThan(s.b.limit)+kept)
	case errors.Is(err, payload.ErrTooLarge):
		s.wrong(http.StatusRequestEntityTooLarge, refusal.TooLarge, err.Error()+kept)
	case errors.As(err, &wrong) && wrong.Cut && !s.b.whole:
		s.wrong(http.StatusRequestEntityTooLarge, refusal.TooLarge,
			"an element is larger than "+strconv.Itoa(payload.MaxElement)+" bytes"+kept)
	case errors.As(err, &wrong):
		s.wrong(http.StatusBadRequest, refusal.BadPayload, err.Error()+kept)
	default: // the device stopped, was too slow, or has left
		status, why := unfinished(err)
		s.wrong(status, refusal.Slow, why+kept)
	}
}

// wrong answers with an error that is about what came, and leaves a trace.
func (s *rows) wrong(status int, reason refusal.Reason, why string) {
	s.h.note(s.r, reason, s.name, why)
	fail(s.w, status, codeBadRequest, why)
}
