package payload

import "edgesync/proto"

// Attributes parses an attributes payload of the entity (API.md 1.2). It returns one event for the
// client scope, or none if the payload has no values. Errors are those of Telemetry.
func (p *Parser) Attributes(payload []byte, entity proto.UUID, now int64) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	if err := p.attributes(entity, 0); err != nil {
		return nil, err
	}
	if err := p.scan.end(); err != nil {
		return nil, err
	}
	return p.makeEvents(proto.ActionPostAttributes, entity, now), nil
}

// attributes parses an object of attributes inside depth levels. It appends its fragment if the
// object has values.
func (p *Parser) attributes(entity proto.UUID, depth int) error {
	if p.scan.peek() != '{' {
		return p.notObject("attributes")
	}
	if err := p.object(depth); err != nil || len(p.kvs) == 0 {
		return err
	}
	start := len(p.out)
	p.out = proto.AppendPostAttributes(p.out, entity, proto.DeviceEntity, proto.ClientScope, p.kvs)
	return p.endFragment(start)
}
