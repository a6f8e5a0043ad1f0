package device

import (
	"sync"

	"edgesync/proto"
	"edgesync/sync/device/schema"
	"edgesync/sync/registry"
)

// rules is what the profile of a device says of its topics and payloads, with the schemas ready for
// use. It does not change: a changed profile makes new ones.
type rules struct {
	registry.Profile
	telemetry  *schema.Message // nil: there is none, or none that can be used
	attributes *schema.Message
	call       *schema.Message
	answer     *schema.Message
}

// follow makes the session go by a profile as it is now: at the connect, and at each change, as the
// server does (read in its source). The loop's goroutine and the one that reads the connection call
// it; the later of two sees what is newer.
func (s *session) follow(profile proto.UUID) {
	s.following.Lock()
	defer s.following.Unlock()
	r := new(rules)
	r.Profile, _ = s.m.Lookups.Profile(profile)
	if r.Protobuf {
		t := &r.Schemas
		r.telemetry, r.attributes = s.schema("telemetry", t.Telemetry), s.schema("attributes", t.Attributes)
		r.call, r.answer = s.schema("commands", t.Call), s.schema("answers to commands", t.Answer)
	}
	s.rules.Store(r)
}

// schema is the message of a schema, nil if there is none.
func (s *session) schema(of, text string) *schema.Message {
	if text == "" {
		return nil
	}
	m, err := s.m.schemas.parse(text)
	if err != nil {
		s.m.complain("the protobuf schema for "+of+" of a device profile cannot be used", s.device.Name, err)
	}
	return m
}

// maxSchemas bounds the schemas that are kept, ready for use.
const maxSchemas = 64

// schemas keeps what schemas say, by their text: the devices of a profile share it. Any goroutine.
type schemas struct {
	mu     sync.Mutex
	byText map[string]*schema.Message
}

func (c *schemas) parse(text string) (*schema.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.byText[text]; ok {
		return m, nil
	}
	m, err := schema.Parse(text)
	if err != nil {
		return nil, err
	}
	if len(c.byText) >= maxSchemas || c.byText == nil {
		c.byText = make(map[string]*schema.Message) // sessions have theirs
	}
	c.byText[text] = m
	return m, nil
}
