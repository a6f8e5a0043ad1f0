package payload

import (
	"errors"

	"edgesync/proto"
)

// Finder returns the entity of a device that a gateway calls name. If ok is false, what is said of
// that device is left out.
type Finder = func(name string) (id proto.UUID, ok bool)

// ErrNoDevices is what a gateway's message is refused with in which no device has a part of the
// right type, or which is no object at all (API.md 4.3).
var ErrNoDevices = errors.New("a gateway's message must be a JSON object with a member for each device")

// GatewayTelemetry parses the telemetry that a gateway publishes for its devices (API.md 4.3):
// {"name":[…],…}, each array as Telemetry takes it. Each device's part is judged alone: events are
// those of the good parts, and bad says what is wrong with the first of the others. A part that is
// no array is left out, and no mistake beside one of the right type. Of a name that comes twice
// both arrays count. find is called once for each part of the right type, in their order, and not
// before the whole payload is known to be JSON. err refuses the whole payload.
func (p *Parser) GatewayTelemetry(payload []byte, find Finder, now int64) (events []proto.Event, bad, err error) {
	p.metadata = true
	defer func() { p.metadata = false }()
	return p.devices(payload, '[', find, proto.ActionTimeseriesUpdated, now, func(id proto.UUID) error {
		return p.elements(id, now, 1)
	})
}

// GatewayAttributes parses the client attributes that a gateway publishes for its devices:
// {"name":{…},…}. All else is as with GatewayTelemetry.
func (p *Parser) GatewayAttributes(payload []byte, find Finder, now int64) (events []proto.Event, bad, err error) {
	return p.devices(payload, '{', find, proto.ActionPostAttributes, now, func(id proto.UUID) error {
		return p.attributes(id, 1)
	})
}

// devices reads an object with a part for each device that begins with the byte open; member parses
// the part of one.
func (p *Parser) devices(
	payload []byte, open byte, find Finder, action proto.Action, now int64, member func(proto.UUID) error,
) (events []proto.Event, bad, err error) {
	if err := p.begin(payload); err != nil {
		return nil, nil, err
	}
	s := &p.scan
	if s.peek(); s.pos == len(s.data) {
		return nil, nil, ErrNoDevices
	}
	// First the syntax of the whole payload, so that a part which is wrong can be left out.
	start := s.pos
	if _, err := s.value(nil, false, 0); err != nil {
		return nil, nil, err
	}
	if err := s.end(); err != nil {
		return nil, nil, err
	}
	if s.pos = start; s.data[start] != '{' {
		return nil, nil, ErrNoDevices
	}
	s.pos++
	p.owners = p.owners[:0]
	usable := false
	for first := true; ; first = false {
		raw, how, more, err := s.key(first)
		if err != nil {
			return nil, nil, err
		}
		if !more {
			break
		}
		name := string(raw)
		if how&escaped != 0 {
			name = string(appendUnescaped(nil, raw))
		}
		right := s.peek() == open
		part, fragments, size := s.pos, len(p.ends), len(p.out)
		if right {
			usable = true
			if id, ok := find(name); ok {
				err := member(id)
				for len(p.owners) < len(p.ends) {
					p.owners = append(p.owners, id)
				}
				if err == nil {
					continue
				}
				p.ends, p.out, p.owners = p.ends[:fragments], p.out[:size], p.owners[:fragments]
				if bad == nil {
					bad = err
				}
			}
		}
		s.pos = part
		if _, err := s.value(nil, false, 1); err != nil {
			return nil, nil, err
		}
	}
	if !usable {
		return nil, nil, ErrNoDevices
	}
	events = p.makeEvents(action, proto.UUID{}, now)
	for i := range events {
		events[i].Entity = p.owners[i]
	}
	return events, bad, nil
}
