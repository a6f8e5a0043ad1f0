package payload

import "edgesync/proto"

// Finder returns the entity of a device that a gateway calls name. Its error refuses the whole
// payload and is returned as it is.
type Finder = func(name string) (proto.UUID, error)

// GatewayTelemetry parses the telemetry that a gateway publishes for its devices (API.md 4.3):
// {"name":[…],…}, each array as Telemetry takes it. One broken element refuses the whole payload.
// Of a name that comes twice both arrays count. find is called once for each name in the payload.
func (p *Parser) GatewayTelemetry(payload []byte, find Finder, now int64) ([]proto.Event, error) {
	p.metadata = true
	defer func() { p.metadata = false }()
	return p.devices(payload, find, proto.ActionTimeseriesUpdated, now, func(id proto.UUID) error {
		return p.elements(id, now, 1)
	})
}

// GatewayAttributes parses the client attributes that a gateway publishes for its devices:
// {"name":{…},…}. All else is as with GatewayTelemetry.
func (p *Parser) GatewayAttributes(payload []byte, find Finder, now int64) ([]proto.Event, error) {
	return p.devices(payload, find, proto.ActionPostAttributes, now, func(id proto.UUID) error {
		return p.attributes(id, 1)
	})
}

// devices reads an object with a member for each device; member parses the value of one.
func (p *Parser) devices(
	payload []byte, find Finder, action proto.Action, now int64, member func(proto.UUID) error,
) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	if p.scan.peek() != '{' {
		return nil, p.notObject("a gateway's message")
	}
	p.scan.pos++
	p.owners = p.owners[:0]
	for first := true; ; first = false {
		raw, how, more, err := p.scan.key(first)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		name := string(raw)
		if how&escaped != 0 {
			name = string(appendUnescaped(nil, raw))
		}
		id, err := find(name)
		if err != nil {
			return nil, err
		}
		if err := member(id); err != nil {
			return nil, err
		}
		for len(p.owners) < len(p.ends) {
			p.owners = append(p.owners, id)
		}
	}
	if err := p.scan.end(); err != nil {
		return nil, err
	}
	events := p.makeEvents(action, proto.UUID{}, now)
	for i := range events {
		events[i].Entity = p.owners[i]
	}
	return events, nil
}
