package device

import (
	"sync"

	"edgesync/proto"
	"edgesync/sync/device/schema"
	"edgesync/sync/registry"
)

// rules is what the profile of a device says about its topics and payloads, with the schemas ready
// for use. It does not change: a changed profile makes a new one. Any goroutine may read it.
type rules struct {
	registry.Profile
	telemetry  *schema.Message // nil: there is none, or it cannot be used; likewise the others
	attributes *schema.Message
	call       *schema.Message
	answer     *schema.Message
}

// follow makes the session go by a profile as it is now: at the connect and at each change, as the
// server does (read in its source). The loop and the goroutine that reads the connection call it;
// of two calls at the same time the later one sees the newer profile.
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
	// A session keeps what it needs, and not a copy of each text.
	r.Schemas.Telemetry, r.Schemas.Attributes, r.Schemas.Call, r.Schemas.Answer = "", "", "", ""
	s.rules.Store(r)
}

// schema is the message that a schema's text describes, nil where there is none or it cannot be
// used.
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

// maxSchemas bounds the schemas that are kept ready for use, in bytes of their texts. What is made
// of a text takes some ten times as much.
const maxSchemas = 128 << 10

// schemas keeps the messages of schemas by their text, so that the devices of a profile share them.
// Any goroutine may use it.
type schemas struct {
	mu     sync.Mutex
	byText map[string]*schema.Message
	bytes  int // of the texts
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
	if c.bytes+len(text) > maxSchemas || c.byText == nil {
		c.byText, c.bytes = make(map[string]*schema.Message), 0 // sessions keep those that they use
	}
	c.byText[text] = m
	c.bytes += len(text)
	return m, nil
}
