package payload

import "edgesync/proto"

// Attributes parses an attributes payload of the entity (API.md 1.2). It returns one event for the
// client scope, several if the payload is beyond a megabyte, or none if it has no values. Errors
// are those of Telemetry.
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
	if err := p.object(depth); err != nil {
		return err
	}
	for kvs := p.kvs; len(kvs) > 0; {
		n := part(kvs, len(kvs) < len(p.kvs))
		start := len(p.out)
		p.out = proto.AppendPostAttributes(p.out, entity, proto.DeviceEntity, proto.ClientScope, kvs[:n])
		if err := p.endFragment(start); err != nil {
			return err
		}
		kvs = kvs[n:]
	}
	return nil
}
