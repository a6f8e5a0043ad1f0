package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/sync/tally"
	"edgesync/wal/disk"
)

const (
	// maxRequest bounds a request line in bytes, its end included.
	maxRequest = 1024
	// requestGrace is how long a client has to begin a request. A client that sends nothing and
	// leaves its side open, because it only wants the status, waits this long for it.
	requestGrace = 200 * time.Millisecond
	// requestPatience is how long a client waits: the agent may be busy for 3 s and may serve
	// another client first.
	requestPatience = 10 * time.Second
	// lettersPerAnswer keeps an answer far below maxAnswer: a dead letter takes at most about 7 KiB
	// of it.
	lettersPerAnswer = 100
)

// holdLimit is how long a client may have the agent hold: devices wait meanwhile. Tests lower it.
var holdLimit = 5 * time.Second

// What a request may ask for.
const (
	doList  = "dead_list"
	doRetry = "dead_retry"
	doDrop  = "dead_drop"

	doFormerList  = "former_list"
	doFormerRetry = "former_retry"
	doFormerDrop  = "former_drop"

	doAck     = "ack"
	doDevices = "devices"
	doHold    = "hold"

	// Rules asks for the report of the rule chains.
	Rules = "rules"
)

// Request is what a client of agent.sock may send: one line of JSON, of at most 1 KiB, ended by a
// line feed or by closing the client's side. dead_list lists dead letters from the offset on;
// dead_retry and dead_drop are about the dead letter at the offset, or about all; former_list,
// former_retry and former_drop about the events of former edges, and take neither; ack says that a
// person has seen what was lost; devices asks for a page of devices, rules for the rule chains.
// hold has the agent write nothing until the client sends a line, or holdLimit has passed; it gets
// two answers, one when the agent holds, and one that says whether it has held until the line came.
// reconnect, sync (all: everything), log_level, log, replay and replay_stop are those of Control.
type Request struct {
	Do     string `json:"do"`
	Offset uint64 `json:"offset,omitempty"`
	All    bool   `json:"all,omitempty"`
	Level  string `json:"level,omitempty"` // of log_level: debug, info, warn, error

	Devices *DeviceQuery       `json:"devices,omitempty"` // which, of devices
	Replay  *agent.ReplayOrder `json:"replay,omitempty"`  // which events, of replay
}

// Answer is the one line of JSON that a request gets.
type Answer struct {
	OK      bool               `json:"ok"`
	Error   string             `json:"error,omitempty"`
	Count   int                `json:"count"`           // dead letters that were listed, retried or dropped
	Later   int                `json:"later,omitempty"` // dead letters that cannot be dropped yet: ask again in a few seconds
	Letters []agent.DeadLetter `json:"letters,omitempty"`
	Next    uint64             `json:"next,omitempty"` // offset to go on listing from

	Rules   json.RawMessage `json:"rules,omitempty"` // a ruling.Report
	Devices *DeviceList     `json:"devices,omitempty"`

	// Of events of former edges.
	Left     []former.Left `json:"left,omitempty"`     // at most 50
	Entities int           `json:"entities,omitempty"` // of which there are events
	Events   uint64        `json:"events,omitempty"`   // that are kept
	More     bool          `json:"more,omitempty"`     // there are others to look at: ask again
	Busy     bool          `json:"busy,omitempty"`     // the queue has enough to do: ask again in a while

	Text string `json:"text,omitempty"` // of log: the last lines
}

// Dead is what requests about dead letters need of the agent; see the methods of sync.Dead. Offset
// 0 means all.
type Dead interface {
	List(ctx context.Context, from uint64, limit int) (list []agent.DeadLetter, next uint64, err error)
	Retry(ctx context.Context, offset uint64) (n int, err error)
	Drop(ctx context.Context, offset uint64) (n, later int, err error)
	FormerEvents(ctx context.Context) ([]former.Left, former.Stats, error)
	RetryByName(ctx context.Context) (n int, more, busy bool, err error)
	DropFormer(ctx context.Context) (uint64, error)
	Acknowledge(ctx context.Context) error
	Hold(ctx context.Context, fn func()) error
}

// Ruled is a Dead that knows the rule chains, too: RuleChains is their report as JSON.
type Ruled interface{ RuleChains() []byte }

// readRequest reads a line from a client; nothing if the client sends none. A line that is too long
// comes back without its end, which is no JSON.
func readRequest(c net.Conn) []byte {
	_ = c.SetReadDeadline(time.Now().Add(requestGrace))
	buf := make([]byte, maxRequest)
	n := 0
	for n < len(buf) {
		m, err := c.Read(buf[n:])
		if n == 0 && m > 0 {
			_ = c.SetReadDeadline(time.Now().Add(sockTimeout)) // for the rest of the line
		}
		n += m
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return bytes.TrimSpace(buf[:i])
		}
		if err != nil {
			break
		}
	}
	return bytes.TrimSpace(buf[:n])
}

// parseRequest reads and validates a request line.
func parseRequest(line []byte) (r Request, err error) {
	if len(line) > maxRequest {
		return r, errors.New("the request is too long")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, errors.New("the request is no JSON object of the kind {\"do\":\"dead_list\"}")
	}
	if _, err := d.Token(); err != io.EOF { // io.EOF: nothing follows
		return Request{}, errors.New("there is more than one request in the line")
	}
	if (r.Do == doDevices) != (r.Devices != nil) {
		return Request{}, errors.New("\"devices\" says which devices, and belongs to a request for these")
	}
	if (r.Do == doReplay) != (r.Replay != nil) {
		return Request{}, errors.New("\"replay\" says which events, and belongs to a request for a replay")
	}
	switch r.Do {
	case doReplay:
		if err := r.Replay.Check(); err != nil {
			return Request{}, err
		}
	case doList:
		if r.All {
			return Request{}, errors.New("dead_list takes no \"all\"")
		}
	case doRetry, doDrop:
		if r.All == (r.Offset != 0) {
			return Request{}, errors.New("name either an offset above 0, or \"all\"")
		}
	case doReconnect, doSync, doLog, doReplayStop:
		if r.Offset != 0 || r.All && r.Do != doSync || r.Level != "" {
			return Request{}, errors.New(r.Do + " takes no offset and no level, and only sync takes \"all\"")
		}
	case doLevel:
		if r.Offset != 0 || r.All || r.Level == "" {
			return Request{}, errors.New("log_level takes a \"level\", no offset and no \"all\"")
		}
	case doFormerList, doFormerRetry, doFormerDrop, doAck, doHold, doDevices, Rules:
		if r.All || r.Offset != 0 {
			return Request{}, errors.New("ack, devices, and what is asked about former edges, takes no offset and no \"all\"")
		}
	default:
		return Request{}, errors.New("unknown request; known are dead_list, dead_retry, dead_drop, former_ with the same, ack, devices")
	}
	return r, nil
}

// answer does what a request line asks for.
func (s *Server) answer(ctx context.Context, c net.Conn, line []byte) *Answer {
	r, err := parseRequest(line)
	ruled, _ := s.dead.(Ruled)
	switch {
	case err != nil:
	case r.Do == doDevices && s.devices == nil, r.Do != doDevices && s.dead == nil, r.Do == Rules && ruled == nil:
		err = errors.New("this agent has nothing of that kind to ask for")
	case r.Do == Rules:
		return &Answer{OK: true, Rules: ruled.RuleChains()}
	}
	var a Answer
	if by, ok := s.dead.(Control); ok && err == nil && controls(r.Do) {
		a.Text, err = control(ctx, by, &r)
	} else if err == nil && r.Do == doDevices {
		a.Devices = s.devices.List(*r.Devices, time.Now())
	} else if err == nil {
		switch r.Do {
		case doList:
			a.Letters, a.Next, err = s.dead.List(ctx, r.Offset, lettersPerAnswer)
			a.Count = len(a.Letters)
		case doRetry:
			a.Count, err = s.dead.Retry(ctx, r.Offset)
		case doDrop:
			a.Count, a.Later, err = s.dead.Drop(ctx, r.Offset)
		case doFormerList:
			var st former.Stats
			a.Left, st, err = s.dead.FormerEvents(ctx)
			a.Events, a.Entities = st.Kept, st.Entities
		case doFormerRetry:
			a.Count, a.More, a.Busy, err = s.dead.RetryByName(ctx)
		case doAck:
			err = s.dead.Acknowledge(ctx)
		case doFormerDrop:
			a.Events, err = s.dead.DropFormer(ctx)
		case doHold:
			err = s.holdFor(ctx, c)
		default:
			err = errors.New("this agent cannot do that")
		}
	}
	if a.OK = err == nil; !a.OK {
		a.Error = err.Error()
	}
	return &a
}

// holdFor has the agent hold for a client.
func (s *Server) holdFor(ctx context.Context, c net.Conn) (err error) {
	failed := s.dead.Hold(ctx, func() {
		_ = c.SetDeadline(time.Now().Add(holdLimit))
		if _, err = io.WriteString(c, "{\"ok\":true}\n"); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
	})
	if failed == nil && err != nil {
		err = errors.New("the agent could not hold so long; try again")
	}
	return errors.Join(failed, err)
}

// Hold calls fn while the agent that runs on dataDir writes nothing, or returns ErrNoAgent. An
// error that is not fn's means that it did not hold to the end.
func Hold(dataDir string, fn func() error) error {
	c, err := dial(dataDir)
	if err != nil {
		if noAgent(err) {
			return ErrNoAgent
		}
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(requestPatience + holdLimit))
	lines := bufio.NewReader(io.LimitReader(c, maxAnswer))
	ask := func(text string) error {
		var a Answer
		_, _ = io.WriteString(c, text) // an agent that has had enough has answered, and closed
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		switch {
		case err == nil && !a.OK && a.Error == "":
			err = errors.New("the agent that runs knows no requests of this kind: is it older than this program? Restart it")
		case err == nil && !a.OK:
			err = errors.New(a.Error)
		}
		return err
	}
	if err := ask("{\"do\":\"" + doHold + "\"}\n"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	return ask("\n")
}

// noAgent reports whether an error of a dial means that nobody listens.
func noAgent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// ErrNoAgent means that nobody answers on agent.sock.
var ErrNoAgent = errors.New("no agent answers")

// Ask sends a request to the agent that runs on dataDir, or returns ErrNoAgent.
func Ask(dataDir string, r Request) (a Answer, err error) {
	line, err := json.Marshal(&r)
	if err != nil {
		return a, err
	}
	line = append(line, '\n')
	// On a busy machine it may take longer than requestGrace to write the line. The agent has read
	// nothing then and answers with its status.
	for range 5 {
		data, err := exchange(dataDir, line, requestPatience)
		if noAgent(err) {
			return a, ErrNoAgent
		}
		if err != nil {
			return a, fmt.Errorf("ask the agent at %s: %w", filepath.Join(dataDir, sockName), err)
		}
		var kind struct {
			OK *bool `json:"ok"`
		}
		if err := errors.Join(json.Unmarshal(data, &kind), json.Unmarshal(data, &a)); err != nil {
			return a, fmt.Errorf("the agent's answer cannot be read: %w", err)
		}
		if kind.OK == nil {
			a = Answer{}
			continue
		}
		if !a.OK {
			return a, errors.New(a.Error)
		}
		return a, nil
	}
	return a, errors.New("the agent that runs knows no requests: is it older than this program? Restart it")
}

// DeadLetters asks for all dead letters and calls fn for each, in order of the offsets, until it
// returns false.
func DeadLetters(dataDir string, from uint64, fn func(*agent.DeadLetter) bool) error {
	for {
		a, err := Ask(dataDir, Request{Do: doList, Offset: from})
		if err != nil {
			return err
		}
		for i := range a.Letters {
			if !fn(&a.Letters[i]) {
				return nil
			}
		}
		if a.Next <= from {
			return nil
		}
		from = a.Next
	}
}

// RetryDead asks for what sync.Dead.Retry does; offset 0 means all.
func RetryDead(dataDir string, offset uint64) (n int, err error) {
	a, err := Ask(dataDir, Request{Do: doRetry, Offset: offset, All: offset == 0})
	return a.Count, err
}

// DropDead asks for what sync.Dead.Drop does; offset 0 means all.
func DropDead(dataDir string, offset uint64) (n, later int, err error) {
	a, err := Ask(dataDir, Request{Do: doDrop, Offset: offset, All: offset == 0})
	return a.Count, a.Later, err
}

// AskDevices asks for a page of devices, or returns ErrNoAgent.
func AskDevices(dataDir string, q DeviceQuery) (*DeviceList, error) {
	a, err := Ask(dataDir, Request{Do: doDevices, Devices: &q})
	if err == nil && a.Devices == nil {
		err = errors.New("the agent's answer holds no devices")
	}
	return a.Devices, err
}

// FormerEvents asks for what sync.Dead.FormerEvents returns: the entities with the most events, how
// many entities there are, and how many events.
func FormerEvents(dataDir string) (list []former.Left, entities int, events uint64, err error) {
	a, err := Ask(dataDir, Request{Do: doFormerList})
	return a.Left, a.Entities, a.Events, err
}

// RetryByName asks for what sync.Dead.RetryByName does.
func RetryByName(dataDir string) (n int, more, busy bool, err error) {
	a, err := Ask(dataDir, Request{Do: doFormerRetry})
	return a.Count, a.More, a.Busy, err
}

// DropFormer asks for what sync.Dead.DropFormer does.
func DropFormer(dataDir string) (events uint64, err error) {
	a, err := Ask(dataDir, Request{Do: doFormerDrop})
	return a.Events, err
}

// Acknowledge says that a person has seen what was lost. Without an agent it is written to the
// directory, which nobody may hold meanwhile.
func Acknowledge(dataDir string) error {
	_, err := Ask(dataDir, Request{Do: doAck})
	if !errors.Is(err, ErrNoAgent) {
		return err
	}
	s, err := Fetch(dataDir) // an agent that has started meanwhile holds the directory
	if err != nil {
		return err
	}
	lock, err := disk.OpenDataDir(dataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return tally.Open(dataDir, time.Now, slog.New(slog.DiscardHandler)).Seen(s.Damaged)
}
