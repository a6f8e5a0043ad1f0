package calls

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	gosync "sync"
	"time"

	"edgesync/proto"
)

// Bounds. CONTRACT.md 8.1 names those of the server.
const (
	MaxOfDevice = 16      // calls that wait for one device
	maxCalls    = 1024    // calls that wait for devices, notices among them
	MaxRequests = 256     // calls of devices that wait for the cloud
	maxAnswers  = 256     // answers that wait for the link
	maxResponse = 1 << 20 // bytes of a device's answer
	// MaxText bounds a call, method and parameters, and the cloud's answer to a device's call, in
	// bytes: a device over MQTT takes no more at a time.
	MaxText        = 256 << 10
	maxBytes       = 2 << 20   // of the texts of all calls that wait for devices, and callCost for each
	maxOfDevice    = 512 << 10 // the same of one device
	callCost       = 512       // bytes that a call takes beside its texts
	maxOver        = 256       // calls remembered after their end, so that a message that comes twice is not carried out twice
	requestTimeout = 60 * time.Second
	callMargin     = 250 * time.Millisecond // before the caller gives up, so that it hears the reason
)

// serviceID comes back with the answer to a device's call (CONTRACT.md 8.2).
const serviceID = "edgesync"

// The error words of an answer. Any other text leaves the caller without an answer (CONTRACT.md
// 8.1).
const (
	NotFound     = "NOT_FOUND"
	NoConnection = "NO_ACTIVE_CONNECTION"
	TimedOut     = "TIMEOUT"
	Internal     = "INTERNAL"
)

// What a call can fail with.
var (
	// ErrTimeout: the cloud did not answer a device's call in time.
	ErrTimeout = errors.New("the cloud did not answer in time")
	// ErrOffline: there is no link to the cloud now.
	ErrOffline = errors.New("no link to the cloud")
	// ErrTooMany: as many calls as are allowed are on their way.
	ErrTooMany = errors.New("too many calls are on their way")
	// ErrTooLarge: a device's call is larger than what the cloud takes.
	ErrTooLarge = errors.New("the call is larger than the cloud takes")
	// ErrAnswerTooLarge: the cloud's answer is longer than MaxText.
	ErrAnswerTooLarge = errors.New("the cloud's answer is too large")
)

// Call is a command for a device (CONTRACT.md 8.1).
type Call struct {
	Device  proto.UUID
	ID      int32 // what the device sees: unique in this life; the first is any number below 2^24
	Method  string
	Params  string    // JSON text, a scalar too; "null" if the cloud sent none
	OneWay  bool      // needs no answer of the device; whoever hands it over says Delivered
	Expires time.Time // by this machine's clock
	// Request is the id under which its caller knows it. Direct: it comes of a rule chain, or is a
	// notice, and enters no chain.
	Request proto.UUID
	Direct  bool
	// Persisted: nobody waits for the answer, and each state of the call is told (Table.Watch).
	Persisted bool
	Retries   string    // as the cloud sent them, "" if it did not
	Info      string    // JSON that the caller gave with it, "" if it gave none
	Made      time.Time // when the call came
}

// Request is a device's own call to the cloud.
type Request struct {
	Device  proto.UUID
	Method  string
	Params  string        // JSON text; "" is sent as null
	Timeout time.Duration // until Reply(nil, ErrTimeout); 0 = 60 s (API.md 6)
	// Reply is called exactly once, by the loop's goroutine, and must not block: with the answer's
	// JSON text, or with ErrTimeout or ErrTooLarge, or with an error that holds the cloud's error
	// word.
	Reply func(response []byte, err error)
}

// Table holds the calls that are under way. All methods may be called from any goroutine and return
// at once, but for Call, which waits for the device.
type Table struct {
	store   Store
	wake    chan struct{} // of size 1
	session string        // our end of devices' calls, of this process

	mu       gosync.Mutex // guards all below; no callback runs under it
	online   bool
	next     int32
	calls    map[proto.UUID][]*pending // by device, oldest first
	count    int
	texts    int                 // bytes of their texts, and callCost for each
	news     []*pending          // calls made here that no door has been offered yet
	over     [maxOver]proto.UUID // request ids of calls that are over, a ring
	overAt   int
	answers  []*answer                 // to be sent
	bytes    int                       // of them
	finished []*proto.DeviceRpcCallMsg // kept calls that are over without an answer to be sent
	unpaired []unpaired
	requests map[int32]*pendingRequest
	unsent   []int32 // requests to be sent
	watch    func(c *Call, state, answer string)
	unacked  []unacked
}

// pending is a call to a device without an answer.
type pending struct {
	Call
	msg     *proto.DeviceRpcCallMsg
	request proto.UUID
	offered bool // somebody was there to take it
	kept    bool // in the registry, over a restart
	// Of a persistent call: how often it was sent, and acknowledged, and when that is due.
	sent, acked int
	due         time.Time
	// local tells who here waits for the answer, with mu held, and must not block; nil: the cloud
	// waits for it, or, for a notice, nobody.
	local  func(response, word string)
	notice bool // made by the edge itself; nobody waits for its answer
}

// answer is on its way to the cloud.
type answer struct {
	msg      *proto.DeviceRpcCallMsg // the call, without its body
	fragment []byte
	expires  time.Time // not worth sending any more
	kept     bool      // in the registry
	unsaved  bool      // not in the registry yet, and is not sent before it is
	word     string    // that it holds
}

// pendingRequest is a call of a device without an answer.
type pendingRequest struct {
	*Request
	id      int32
	expires time.Time
}

// Store is where calls are kept over a restart: the registry. The loop's goroutine calls it.
type Store struct {
	Keep  func(*proto.DeviceRpcCallMsg) error // stages a call, or its answer in its place
	Drop  func(*proto.DeviceRpcCallMsg) error // stages the end of one
	Flush func() error                        // makes durable what is staged
}

// NewTable returns an empty table. It is offline until Online.
func NewTable(s Store) *Table {
	return &Table{
		store: s, wake: make(chan struct{}, 1), calls: make(map[proto.UUID][]*pending), requests: make(map[int32]*pendingRequest),
		// Not from 0: a late answer to a call of an earlier life must not meet one of this life.
		next: rand.Int32N(1 << 24), session: proto.FormatUUID(proto.NewUUID()),
	}
}

// Wake brings a value when the loop has something to do for the table.
func (t *Table) Wake() <-chan struct{} { return t.wake }

// Waiting is the number of calls that wait for devices.
func (t *Table) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// nudge wakes the loop.
func (t *Table) nudge() {
	select {
	case t.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (t *Table) id() int32 {
	if t.next++; t.next < 0 {
		t.next = 0
	}
	return t.next
}

func (t *Table) find(device proto.UUID, id int32) *pending {
	for _, c := range t.calls[device] {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// add puts a call into the table. The caller holds mu and has looked at the bounds.
func (t *Table) add(c *pending) {
	c.ID = t.id()
	t.calls[c.Device] = append(t.calls[c.Device], c)
	t.count++
	t.texts += c.size()
}

// size is what a call takes of maxBytes.
func (c *pending) size() int {
	n := callCost + len(c.Method) + len(c.Params) + len(c.Info)
	if c.notice {
		n += len(c.msg.GetRequestMsg().GetMethod()) + len(c.msg.GetRequestMsg().GetParams())
	}
	return n
}

// fits reports whether there is room for a call. The caller holds mu.
func (t *Table) fits(c *pending) bool {
	size, of := c.size(), 0
	for _, o := range t.calls[c.Device] {
		of += o.size()
	}
	return t.count < maxCalls && len(c.Method)+len(c.Params) <= MaxText && t.texts+size <= maxBytes && of+size <= maxOfDevice
}

// offer has the loop offer a call made here to the doors. The caller holds mu.
func (t *Table) offer(c *pending) {
	t.news = append(t.news, c)
	t.nudge()
}

// finish takes a call out and queues its answer. The caller holds mu.
func (t *Table) finish(c *pending, response, word string) {
	list := slices.DeleteFunc(t.calls[c.Device], func(o *pending) bool { return o == c })
	if t.calls[c.Device] = list; len(list) == 0 {
		delete(t.calls, c.Device)
	}
	t.count--
	t.texts -= c.size()
	switch {
	case c.local != nil:
		c.local(response, word)
		return
	case c.notice:
		t.drop(c.msg)
		return
	}
	t.remember(c.request)
	a := &answer{msg: c.msg, expires: c.Expires, kept: c.kept}
	a.fill(response, word)
	t.queue(a)
}

// fill sets what an answer says.
func (a *answer) fill(response, word string) {
	a.word = word
	a.fragment = proto.AppendRPCAnswer(nil, a.msg, response, word)
	if a.kept && word != NoConnection && word != TimedOut { // these are made here and can be made again
		a.msg.ResponseMsg = &proto.RpcResponseMsg{Response: response, Error: word}
		a.unsaved = true
	}
}

// remember notes that a call is over. The caller holds mu.
func (t *Table) remember(request proto.UUID) {
	t.over[t.overAt] = request
	t.overAt = (t.overAt + 1) % maxOver
}

// queue adds an answer to be sent; the oldest gives way. The caller holds mu.
func (t *Table) queue(a *answer) {
	t.answers = append(t.answers, a)
	t.bytes += len(a.fragment)
	for len(t.answers) > maxAnswers || t.bytes > 2*maxResponse {
		t.bytes -= len(t.answers[0].fragment)
		t.dropKept(t.answers[0])
		t.answers = slices.Delete(t.answers, 0, 1)
	}
	t.nudge()
}

// drop has the registry forget a kept call. The caller holds mu.
func (t *Table) drop(c *proto.DeviceRpcCallMsg) {
	t.finished = append(t.finished, c)
	t.nudge()
}

func (t *Table) dropKept(a *answer) {
	if a.kept {
		t.drop(a.msg)
	}
}

// withoutBody is what of a call comes back with its answer.
func withoutBody(c *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
	return &proto.DeviceRpcCallMsg{
		DeviceIdMSB: c.DeviceIdMSB, DeviceIdLSB: c.DeviceIdLSB, RequestUuidMSB: c.RequestUuidMSB, RequestUuidLSB: c.RequestUuidLSB,
		RequestId: c.RequestId, ExpirationTime: c.ExpirationTime, Oneway: c.Oneway,
	}
}

// paramsJSON are parameters as JSON; what is none becomes a string.
func paramsJSON(text string) string {
	switch {
	case text == "":
		return "null"
	case !json.Valid([]byte(text)):
		return string(proto.AppendJSONString(nil, text))
	}
	return text
}
