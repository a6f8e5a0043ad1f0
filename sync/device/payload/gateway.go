package payload

import (
	"edgesync/proto"
)

// GatewayTelemetry parses what a gateway publishes for its devices (device API 4.3): {"name":[…],…}, each array as Telemetry takes it. find tells
// which device a name means; its error ends the parsing. One broken element refuses the whole of it. Of a name that comes twice both arrays count.
func (p *Parser) GatewayTelemetry(payload []byte, find func(name string) (proto.UUID, error), now int64) ([]proto.Event, error) {
	p.metadata = true
	defer func() { p.metadata = false }()
	return p.devices(payload, find, proto.ActionTimeseriesUpdated, now, func(id proto.UUID) error { return p.elements(id, now, 1) })
}

// GatewayAttributes does the same for client attributes: {"name":{…},…}.
func (p *Parser) GatewayAttributes(payload []byte, find func(name string) (proto.UUID, error), now int64) ([]proto.Event, error) {
	return p.devices(payload, find, proto.ActionPostAttributes, now, func(id proto.UUID) error { return p.attributes(id, 1) })
}

// devices reads an object with a member for each device.
func (p *Parser) devices(payload []byte, find func(string) (proto.UUID, error), action proto.Action, now int64, member func(proto.UUID) error) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	if p.scan.peek() != '{' {
		return nil, p.notObject("a gateway's message")
	}
	p.scan.pos++
	p.owners = p.owners[:0]
	for first := true; ; first = false {
		raw, escaped, more, err := p.scan.key(first)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		name := string(raw)
		if escaped {
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
	events := p.finish(action, proto.UUID{}, now)
	for i := range events {
		events[i].Entity = p.owners[i]
	}
	return events, nil
}
