package device

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// deferred is an intake whose medium the test controls: events that were submitted become durable
// or are refused when the test calls commit, or at once where auto is set. Any goroutine may use
// it.
type deferred struct {
	mu      sync.Mutex
	auto    bool
	fail    error
	events  []proto.Event // durable
	waiting []func(error)
	staged  [][]proto.Event
	changed chan struct{} // one token for each submit
}

func newDeferred(auto bool) *deferred {
	return &deferred{auto: auto, changed: make(chan struct{}, 1<<16)}
}

func (d *deferred) Submit(_ context.Context, events []proto.Event, done func(error)) error {
	copied := make([]proto.Event, len(events))
	for i, e := range events {
		e.Fragment = append([]byte(nil), e.Fragment...)
		copied[i] = e
	}
	d.mu.Lock()
	d.staged, d.waiting = append(d.staged, copied), append(d.waiting, done)
	auto := d.auto
	d.mu.Unlock()
	if auto {
		d.commit(d.fail)
	}
	d.changed <- struct{}{}
	return nil
}

func (d *deferred) Accept(ctx context.Context, events []proto.Event) error {
	res := make(chan error, 1)
	if err := d.Submit(ctx, events, func(err error) { res <- err }); err != nil {
		return err
	}
	return <-res
}

// commit is one fsync.
func (d *deferred) commit(err error) {
	d.mu.Lock()
	staged, waiting := d.staged, d.waiting
	d.staged, d.waiting = nil, nil
	if err == nil {
		for _, s := range staged {
			d.events = append(d.events, s...)
		}
	}
	d.mu.Unlock()
	for _, fn := range waiting {
		fn(err)
	}
}

func (d *deferred) durable() []proto.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]proto.Event(nil), d.events...)
}

// book is a registry that holds what the test writes into it.
type book struct {
	mu         sync.Mutex
	tokens     map[string]registry.Device
	profiles   map[proto.UUID]registry.Profile
	attributes map[registry.Scope]map[proto.UUID][]proto.KV
	secrets    map[proto.UUID]string
	births     []agent.NewDevice
	birthError error
	connected  []string         // devices whose gateway was noted
	firmware   registry.Package // of the lamp
	looked     atomic.Int64     // tokens and secrets that were looked up
}

func (b *book) Package(id proto.UUID, software bool) (registry.Package, bool) {
	return b.firmware, id == lampID && !software && b.firmware.Path != ""
}

func (b *book) ByToken(token string) (registry.Device, bool) {
	b.looked.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.tokens[token]
	return d, ok
}

func (b *book) enrol(token string, d registry.Device) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[token] = d
}

func (b *book) ByMQTT(clientID, user string, password []byte) (registry.Device, bool) {
	if user == "" {
		return b.ByToken("client:" + clientID)
	}
	return b.ByToken(user)
}

func (b *book) ByCertificate(der []byte) (registry.Device, bool) {
	return b.ByToken("der:" + string(der))
}

func (b *book) find(ok func(registry.Device) bool) (registry.Device, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.tokens {
		if ok(d) {
			return d, true
		}
	}
	return registry.Device{}, false
}

func (b *book) ByName(name string) (registry.Device, bool) {
	return b.find(func(d registry.Device) bool { return d.Name == name })
}

func (b *book) ByID(id proto.UUID) (registry.Device, bool) {
	return b.find(func(d registry.Device) bool { return d.ID == id })
}

func (b *book) Profile(id proto.UUID) (registry.Profile, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.profiles[id]
	return p, ok
}

func (b *book) Provision(key, secret string) (registry.Profile, bool) {
	b.looked.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.profiles {
		if key == "key of "+p.Name && secret == "secret of "+p.Name {
			return p, true
		}
	}
	return registry.Profile{}, false
}

func (b *book) Attributes(id proto.UUID, scope registry.Scope, keys []string, fn func(*proto.KV)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.attributes[scope][id]
	if keys == nil {
		for i := range all {
			fn(&all[i])
		}
	}
	for _, k := range keys {
		for i := range all {
			if string(all[i].Key) == k {
				fn(&all[i])
			}
		}
	}
}

func (b *book) Credentials(id proto.UUID) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.secrets[id]
	return []byte(s), ok
}

func (b *book) Create(_ context.Context, n *agent.NewDevice) (proto.UUID, error) {
	if d, ok := b.ByName(n.Name); ok {
		return d.ID, agent.ErrNameTaken
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.birthError != nil {
		return proto.UUID{}, b.birthError
	}
	b.births = append(b.births, *n)
	id := proto.UUID{0xbb, byte(len(b.births))}
	token := n.CredentialsID
	if token == "" {
		token = fmt.Sprint("generated", len(b.births))
	}
	b.tokens[token] = registry.Device{ID: id, Name: n.Name, Type: n.Type, Gateway: n.IsGateway}
	value, kind := "null", n.CredentialsType
	if n.CredentialsValue != "" {
		value = string(proto.AppendJSONString(nil, n.CredentialsValue))
	}
	if kind == "" {
		kind = "ACCESS_TOKEN"
	}
	b.secrets[id] = fmt.Sprintf(`{"credentialsType":%q,"credentialsId":%q,"credentialsValue":%s}`, kind, token, value)
	return id, nil
}

func (b *book) Connected(_ context.Context, device, gateway proto.UUID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for token, d := range b.tokens {
		if d.ID == device {
			d.LastGateway = gateway
			b.tokens[token] = d
		}
	}
	b.connected = append(b.connected, fmt.Sprintf("%x by %x", device[:1], gateway[:1]))
	return nil
}

// switchboard stands for the calls of the agent.
type switchboard struct {
	mu        sync.Mutex
	pending   map[proto.UUID][]agent.Call
	delivered []string
	answers   []string
	notices   []string
	requests  chan *agent.Request
	offline   error
}

func (s *switchboard) Pending(id proto.UUID) []agent.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]agent.Call(nil), s.pending[id]...)
}

func (s *switchboard) Delivered(id proto.UUID, call int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered = append(s.delivered, fmt.Sprintf("%x/%d", id[:1], call))
}

func (s *switchboard) Sent(id proto.UUID, call int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered = append(s.delivered, fmt.Sprintf("%x/%d sent", id[:1], call))
}

func (s *switchboard) Acknowledged(id proto.UUID, call int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered = append(s.delivered, fmt.Sprintf("%x/%d acknowledged", id[:1], call))
}

func (s *switchboard) Answer(id proto.UUID, call int32, response string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, fmt.Sprintf("%x/%d %s", id[:1], call, response))
	return true
}

func (s *switchboard) Notify(id proto.UUID, method, params string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, fmt.Sprintf("%x %s %s", id[:1], method, params))
	return len(s.notices) < 5
}

func (s *switchboard) Request(r *agent.Request) error {
	if s.offline != nil {
		return s.offline
	}
	s.requests <- r
	return nil
}

func (s *switchboard) said() (delivered, answers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.delivered...), append([]string(nil), s.answers...)
}
