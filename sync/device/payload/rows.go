package payload

import (
	"errors"

	"edgesync/proto"
)

// Bounds of what one call of Next makes: after one of them it stops.
const (
	batchEvents = 2048
	batchBytes  = 128 << 10 // of fragments
)

// MaxElement is the largest element of telemetry, and the largest object of attributes, in bytes of
// UTF-8. As an event it stays below what the server takes in one message (CONTRACT.md 2.5).
const MaxElement = 3 << 20

// Rows reads telemetry that comes in pieces: an array of any number of elements, of which each is
// at most MaxElement. The zero value stands at the beginning of the text. One goroutine uses a
// Rows.
type Rows struct {
	phase    rowsPhase
	offset   int // of the window in the text
	elements int
}

// Elements is how many elements Next has made events of.
func (r *Rows) Elements() int { return r.elements }

type rowsPhase uint8

const (
	rowsBegin rowsPhase = iota
	rowsFirst           // behind the bracket
	rowsMore            // behind an element
	rowsEnd             // behind the last bracket
	rowsDone
)

// Done reports whether the text has been read to its end.
func (r *Rows) Done() bool { return r.phase == rowsDone }

// Next parses the elements that stand whole at the beginning of window, or some of them, and
// returns their events and how many bytes of window it has used; the next window begins behind
// them. Where it needs more text it returns neither events nor an error, and has mostly used
// nothing. last says that no more text can come; what is missing is then an error, as in Telemetry,
// of which Cut tells whether more text could have helped. The window must be valid UTF-8 and must
// not end within a character. What Next returns is valid until the next call of the parser.
func (p *Parser) Next(
	r *Rows, window []byte, last bool, entity proto.UUID, now int64,
) (events []proto.Event, used int, err error) {
	p.reset()
	p.scan = scanner{data: window, strict: p.Strict}
	for r.phase != rowsDone && len(p.ends) < batchEvents && len(p.out) < batchBytes {
		behind, made := r.phase == rowsEnd, len(p.ends)
		phase, err := p.row(r.phase, last, entity, now)
		if err != nil && last && used == 0 {
			if wrong := (*Error)(nil); errors.As(err, &wrong) {
				wrong.Offset += r.offset
			}
			return nil, 0, err
		}
		if err != nil { // the call that begins here will tell, or more text helps
			break
		}
		if r.phase, used = phase, p.scan.pos; len(p.ends) > made {
			r.elements++
		}
		if behind {
			break
		}
	}
	r.offset += used
	return p.makeEvents(proto.ActionTimeseriesUpdated, entity, now), used, nil
}

// row reads what comes next in a phase, and returns the phase behind it. Nothing that it takes
// could be something else with more text behind it.
func (p *Parser) row(phase rowsPhase, last bool, entity proto.UUID, now int64) (rowsPhase, error) {
	s := &p.scan
	switch phase {
	case rowsBegin:
		s.mark()
		s.preamble()
		switch s.peek() {
		case '[':
			s.pos++
			return rowsFirst, nil
		case '{':
			return rowsEnd, p.element(entity, now, 0)
		}
		return phase, p.notObject("telemetry")
	case rowsEnd:
		if err := s.end(); err != nil || !last {
			return phase, err
		}
		return rowsDone, nil
	}
	c := s.peek()
	if c == ']' {
		s.pos++
		return rowsEnd, nil
	}
	if phase == rowsMore {
		if !s.isComma(c) {
			return phase, s.unexpected("',' or ']'")
		}
		s.pos++
		c = s.peek()
	}
	if c != '{' {
		return phase, p.notObject("an element of the telemetry array")
	}
	return rowsMore, p.element(entity, now, 1)
}
