package ruling

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

// Calls are the calls of the agent, both ways; *sync.Agent is one.
type Calls interface {
	Pending(device proto.UUID) []calls.Call
	Delivered(device proto.UUID, id int32)
	Sent(device proto.UUID, id int32)
	Acknowledged(device proto.UUID, id int32)
	WatchCalls(fn func(c *calls.Call, state, answer string))
	Answer(device proto.UUID, id int32, response string) bool
	Notify(device proto.UUID, method, params string) bool
	Request(r *calls.Request) error
	StartCall(device proto.UUID, method, params string, oneway bool, expires time.Time, done func(response, word string)) error
	AmendCall(device proto.UUID, id int32, method, params string)
	ReachedCall(c *calls.Call)
}

// Doors take calls to devices; *device.Doors is one. Deliver must not block.
type Doors interface {
	Deliver(c *calls.Call) bool
}

// Bounds of calls on their way through chains.
const (
	maxTodo   = 64  // that wait to be run
	maxCloud  = 256 // of the cloud, and of REST, that a chain has
	maxAsked  = 256 // of devices that a chain has
	askedLife = 60 * time.Second
)

// deviceCall names a call as its device sees it.
type deviceCall struct {
	device proto.UUID
	id     int32
}

// callers are the calls that chains have. A goroutine of its own, that of work, runs them: neither
// the loop nor a door waits for a chain.
type callers struct {
	todo    chan func()
	wake    chan struct{} // something is in came
	agent   Calls
	doors   Doors
	mu      sync.Mutex                // guards what follows
	cloud   map[proto.UUID]*cloudCall // by request
	waiting map[deviceCall]uint32     // of the engine, for the answers of devices
	asked   map[string]asked
	next    uint64
	came    []coming     // for chains
	down    [sources]int // bytes of came
}

// cloudCall is a call for a device that a chain has.
type cloudCall struct {
	_ uncompared
	calls.Call
	given bool // the chain has called the device
}

// asked is a device's own call that a chain has.
type asked struct {
	request *calls.Request
	due     time.Time
}

func (c *callers) init() {
	c.todo, c.wake = make(chan func(), maxTodo), make(chan struct{}, 1)
	c.cloud, c.waiting, c.asked = make(map[proto.UUID]*cloudCall), make(map[deviceCall]uint32), make(map[string]asked)
}

// Connect names the agent, which has the calls, and the doors to the devices. Before Start.
func (r *Rules) Connect(agent Calls, doors Doors) {
	r.calls.agent, r.calls.doors = agent, doors
	agent.WatchCalls(r.callState)
}

// work runs what is to be done, until ctx is done.
func (r *Rules) work(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case do := <-r.calls.todo:
			do()
		case <-r.calls.wake:
			r.cameIn()
		case now := <-ticker.C:
			r.calls.expire(now)
			r.look(now)
		}
	}
}

// later has work do something; false: too much is to be done already.
func (r *Rules) later(do func()) bool {
	select {
	case r.calls.todo <- do:
		return true
	default:
		return false
	}
}

func (c *callers) expire(now time.Time) {
	c.mu.Lock()
	var late []*calls.Request
	for key, a := range c.asked {
		if now.After(a.due) {
			late = append(late, a.request)
			delete(c.asked, key)
		}
	}
	for id, call := range c.cloud {
		if now.After(call.Expires) {
			delete(c.cloud, id)
			delete(c.waiting, deviceCall{call.Device, call.ID})
		}
	}
	c.mu.Unlock()
	for _, q := range late {
		q.Reply(nil, calls.ErrTimeout)
	}
}

// handle runs a message through the chains, and makes durable what comes of it.
func (r *Rules) handle(m *rules.Message) (known bool, err error) {
	t := r.takes.Get().(*take)
	known, err = r.engine.Handle(m, t)
	if err == nil {
		err = t.lost
	}
	if err == nil {
		err = t.secure()
	}
	if err == nil && len(t.out) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), appendLimit)
		defer cancel()
		err = r.append(ctx, t.out)
	}
	if err != nil {
		return known, t.end(fmt.Errorf("what a rule chain made of %s: %w", m.Type, err), nil)
	}
	return known, t.end(nil, nil)
}

// handleQuietly is handle where nobody is to be told of a failure.
func (r *Rules) handleQuietly(m *rules.Message) {
	if _, err := r.handle(m); err != nil {
		r.complain("what a rule chain decided is not carried out", "", err.Error())
	}
}

// wayOfCall is the way of a message of a device's calls.
func (r *Rules) wayOfCall(device proto.UUID, typ string) (w *rules.Way, ok bool) {
	_, chain, _ := r.Profile(&rules.Entity{Type: proto.DeviceEntity, ID: device})
	return r.engine.WayOf(chain, typ)
}

// Deliver takes a new call for a device: through the chain, if that has more to do than to call the
// device (RULES.md 7.2). It is what the loop delivers to.
func (r *Rules) Deliver(c *calls.Call) bool {
	if w, ok := r.wayOfCall(c.Device, rules.CallToDevice); r.Off || c.Direct || !ok || !w.Run {
		if ok && !r.Off && !c.Direct {
			w.Count(c.Device)
		}
		return r.offer(c)
	}
	own := *c
	k := &r.calls
	k.mu.Lock()
	room := len(k.cloud) < maxCloud
	if room {
		k.cloud[own.Request] = &cloudCall{Call: own}
	}
	k.mu.Unlock()
	if room && r.later(func() { r.callDown(&own) }) {
		return false // Reached says it once it is
	}
	r.calls.drop(&own)
	return r.offer(c)
}

// offer offers a call to the doors for the first time.
func (r *Rules) offer(c *calls.Call) bool {
	if c.Persisted {
		r.callState(c, calls.Queued, "")
	}
	return r.calls.doors.Deliver(c)
}

func (c *callers) drop(call *calls.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cloud, call.Request)
	delete(c.waiting, deviceCall{call.Device, call.ID})
}

// about begins a message of a device.
func (r *Rules) about(device proto.UUID, typ, data string, pairs ...string) *rules.Message {
	d, _ := r.Registry.ByID(device)
	m := &rules.Message{
		Type: typ, Originator: rules.Entity{Type: proto.DeviceEntity, ID: device}, Time: r.Clock.Now(), Data: data,
		Metadata: []script.Pair{{Key: "deviceName", Value: d.Name}, {Key: "deviceType", Value: d.Type}},
	}
	for i := 0; i < len(pairs); i += 2 {
		m.Metadata = append(m.Metadata, script.Pair{Key: pairs[i], Value: pairs[i+1]})
	}
	return m
}

// callDown runs a call for a device (RULES.md 2.2).
func (r *Rules) callDown(c *calls.Call) {
	b := proto.AppendJSONString([]byte(`{"method":`), []byte(c.Method))
	b = proto.AppendJSONString(append(b, `,"params":`...), []byte(c.Params))
	b = append(appendText(append(b, `,"additionalInfo":`...), c.Info), '}')
	m := r.about(c.Device, rules.CallToDevice, string(b), "requestUUID", proto.FormatUUID(c.Request), "originServiceId", "edgesync",
		"expirationTime", strconv.FormatInt(c.Expires.UnixMilli(), 10), "oneway", strconv.FormatBool(c.OneWay),
		"persistent", strconv.FormatBool(c.Persisted))
	if c.Retries != "" {
		m.Metadata = append(m.Metadata, pair("retries", c.Retries))
	}
	known, err := r.handle(m)
	r.calls.mu.Lock()
	own := r.calls.cloud[c.Request]
	given := own != nil && own.given
	r.calls.mu.Unlock()
	if !given && (!known || err != nil) { // never twice: the device does what it is told
		r.deliver(c)
	}
	r.calls.mu.Lock()
	defer r.calls.mu.Unlock()
	if _, waits := r.calls.waiting[deviceCall{c.Device, c.ID}]; !waits && c.OneWay {
		delete(r.calls.cloud, c.Request)
	}
}

// deliver gives a call to the device.
func (r *Rules) deliver(c *calls.Call) {
	if r.offer(c) {
		r.calls.agent.ReachedCall(c)
	}
}

// callOf is the call that a message came of, which its device gets now; nil: it came of none.
func (c *callers) callOf(request string, device proto.UUID) *calls.Call {
	id, ok := proto.ParseUUID(request)
	c.mu.Lock()
	defer c.mu.Unlock()
	if call := c.cloud[id]; ok && call != nil && call.Device == device {
		call.given = true
		return &call.Call
	}
	return nil
}

// Call implements rules.Outlet.
func (t *take) Call(c *rules.Call) error {
	k := &t.calls
	if own := k.callOf(c.UUID, c.Device.ID); own != nil {
		if own.Method != c.Method || own.Params != c.Params {
			changed := *own
			changed.Method, changed.Params = c.Method, c.Params
			k.agent.AmendCall(own.Device, own.ID, c.Method, c.Params)
			own = &changed
		}
		if c.ID != 0 {
			k.mu.Lock()
			k.waiting[deviceCall{own.Device, own.ID}] = c.ID
			k.mu.Unlock()
		}
		t.Rules.deliver(own)
		return nil
	}
	if k.agent == nil || !t.Registry.HasDevice(c.Device.ID) {
		return errors.New("the device is not here")
	}
	// By this machine's clock, which may be another one than that of the chains.
	expires := time.Now().Add(time.Duration(c.Expires-t.Clock.Now()) * time.Millisecond)
	return k.agent.StartCall(c.Device.ID, c.Method, c.Params, c.OneWay, expires, func(response, word string) {
		if c.ID != 0 {
			t.answered(c.ID, response, word)
		}
	})
}

// answered brings the answer of a device into the chain that called it. It does not block.
func (r *Rules) answered(id uint32, response, word string) {
	if !r.later(func() { r.engine.Answer(id, response, word) }) {
		r.complain("an answer of a device does not reach its rule chain: too much is to be done", "", "")
	}
}

// Answered implements rules.Outlet: the table of calls tells the caller.
func (t *take) Answered(*rules.Call, string, string) {}

// callInstead calls the device where the chain has not (RULES.md 7.2).
func (t *take) callInstead(m *rules.Message) error {
	if own := t.calls.callOf(meta(m, "requestUUID"), m.Originator.ID); own != nil {
		t.Rules.deliver(own)
	}
	return nil
}

// Pending, Delivered and Notify are those of the agent.
func (r *Rules) Pending(device proto.UUID) []calls.Call { return r.calls.agent.Pending(device) }

// Delivered says that a transport took a call.
func (r *Rules) Delivered(device proto.UUID, id int32) { r.calls.agent.Delivered(device, id) }

// Sent says that a transport took a call that the device is to acknowledge.
func (r *Rules) Sent(device proto.UUID, id int32) { r.calls.agent.Sent(device, id) }

// Acknowledged says that the device did.
func (r *Rules) Acknowledged(device proto.UUID, id int32) { r.calls.agent.Acknowledged(device, id) }

// Notify calls a device by the edge itself.
func (r *Rules) Notify(device proto.UUID, method, params string) bool {
	return r.calls.agent.Notify(device, method, params)
}

// Answer takes a device's answer to a call, for the caller and for the chain that called.
func (r *Rules) Answer(device proto.UUID, id int32, response string) bool {
	ok := r.calls.agent.Answer(device, id, response)
	k := &r.calls
	k.mu.Lock()
	which := deviceCall{device, id}
	engine, waits := k.waiting[which]
	delete(k.waiting, which)
	k.mu.Unlock()
	if waits {
		r.answered(engine, response, "")
	}
	return ok
}

// Request takes a device's own call: through the chain, and to the cloud if that neither answers it
// nor pushes it (RULES.md 7.2).
func (r *Rules) Request(q *calls.Request) error {
	k := &r.calls
	w, ok := r.wayOfCall(q.Device, rules.CallFromDevice)
	if r.Off || !ok || !w.Run {
		return k.agent.Request(q)
	}
	k.mu.Lock()
	room := len(k.asked) < maxAsked
	k.next++
	token := strconv.FormatUint(k.next, 10)
	if room {
		life := q.Timeout
		if life <= 0 {
			life = askedLife
		}
		k.asked[token] = asked{q, time.Now().Add(life)}
	}
	k.mu.Unlock()
	if room && r.later(func() { r.callUp(q, token) }) {
		return nil
	}
	k.take(token)
	return k.agent.Request(q)
}

// take takes a device's call out of those that a chain has; nil: it is over.
func (c *callers) take(token string) *calls.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.asked[token]
	delete(c.asked, token)
	return a.request
}

// callUp runs a device's own call.
func (r *Rules) callUp(q *calls.Request, token string) {
	b := proto.AppendJSONString([]byte(`{"method":`), []byte(q.Method))
	b = append(b, `,"params":`...)
	if q.Params == "" {
		b = append(b, "null"...)
	}
	m := r.about(q.Device, rules.CallFromDevice, string(append(append(b, q.Params...), '}')),
		"requestId", token, "serviceId", "edgesync", "sessionId", proto.FormatUUID(q.Device))
	if known, err := r.handle(m); !known || err != nil {
		r.forward(token)
	}
}

// ask has the cloud answer a device's call.
func (t *take) ask(m *rules.Message) error {
	t.forward(meta(m, "requestId"))
	return nil
}

// forward sends a device's call to the cloud, once.
func (r *Rules) forward(token string) {
	if q := r.calls.take(token); q != nil {
		if err := r.calls.agent.Request(q); err != nil {
			q.Reply(nil, err)
		}
	}
}

// Reply implements rules.Outlet.
func (t *take) Reply(p *rules.Reply) error {
	k := &t.calls
	k.mu.Lock()
	q := k.asked[p.Request].request
	if q != nil && q.Device == p.Device.ID {
		delete(k.asked, p.Request)
	} else {
		q = nil
	}
	k.mu.Unlock()
	if q == nil {
		return errors.New("no call of the device waits for this answer")
	}
	q.Reply([]byte(p.Answer), nil)
	return nil
}
