//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
)

// The honest devices: how many there are and how often each sends. Over HTTP a device waits for
// each answer; over MQTT it has up to mqttWindow publishes in flight.
const (
	meters     = 4 // over HTTP
	pumps      = 4 // over MQTT
	meterPace  = 80 * time.Millisecond
	pumpPace   = 50 * time.Millisecond
	hubPace    = 100 * time.Millisecond
	mqttWindow = 10
	largest    = 5 // readings of an array
	countEach  = 20
)

// ofHTTP is a client of one connection.
func ofHTTP() *http.Client {
	return &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1, IdleConnTimeout: 10 * time.Minute}}
}

// ask sends a request to the agent and returns what it says. Without an answer the code is 0.
func (s *soak) ask(ctx context.Context, client *http.Client, method, path, body string) (code int, text string) {
	q, err := http.NewRequestWithContext(ctx, method, "http://"+*s.httpAddress.Load()+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// deliver posts a body until it is acknowledged; false if the context ends first. A refusal that is
// no "later" is a breach, unless the soak held the agent meanwhile.
func (s *soak) deliver(ctx context.Context, client *http.Client, path string, body []byte) bool {
	begun, first := time.Now(), s.holds.mark()
	for ctx.Err() == nil {
		m := s.holds.mark()
		code, text := s.ask(ctx, client, http.MethodPost, path, string(body))
		if code == http.StatusOK {
			s.lat.add(time.Since(begun), s.holds.undisturbed(first), path)
			return true
		}
		if s.holds.undisturbed(m) && ctx.Err() == nil {
			s.lat.fail("http: " + strconv.Itoa(code)) // 0: no answer
			switch code {
			case 0, http.StatusServiceUnavailable, http.StatusTooManyRequests:
			default:
				s.breach("the agent refuses an honest post to %s: %d %.200s", path, code, text)
			}
		}
		_ = rig.Pause(ctx, 50*time.Millisecond)
	}
	return false
}

// meter is a device that posts over HTTP.
func (s *soak) meter(ctx context.Context, i int) {
	name, token := fmt.Sprint("meter ", i), fmt.Sprint("meter-", i)
	readings, count := s.stream(name), s.counter(name)
	client, random := ofHTTP(), rand.New(rand.NewPCG(s.seed, uint64(i)))
	path := "/api/v1/" + token
	for turn := 1; s.wait(ctx, meterPace); turn++ {
		if turn%countEach == 0 {
			n := count.next()
			if s.deliver(ctx, client, path+"/attributes", fmt.Appendf(nil, `{"count":%d}`, n)) {
				count.ack(n)
			}
			continue
		}
		k := 1 + random.IntN(largest)
		from := readings.take(k)
		if s.deliver(ctx, client, path+"/telemetry", readings.appendReadings(nil, from, k, random.IntN(2) == 0)) {
			readings.ack(from, k)
		}
	}
}

// poller takes the commands of meter 0 by long polls and answers each with its parameters.
func (s *soak) poller(ctx context.Context) {
	client := ofHTTP()
	for s.wait(ctx, 50*time.Millisecond) {
		code, text := s.ask(ctx, client, http.MethodGet, "/api/v1/meter-0/rpc?timeout=2000", "")
		var command struct {
			ID     int
			Method string
			Params json.RawMessage
		}
		if code != http.StatusOK || json.Unmarshal([]byte(text), &command) != nil {
			continue
		}
		s.ask(ctx, client, http.MethodPost, fmt.Sprint("/api/v1/meter-0/rpc/", command.ID), string(command.Params))
	}
}

// pump is a device that publishes over MQTT, answers commands and makes calls of its own.
func (s *soak) pump(ctx context.Context, i int) {
	name := fmt.Sprint("pump ", i)
	readings, count := s.stream(name), s.counter(name)
	random := rand.New(rand.NewPCG(s.seed, uint64(100+i)))
	turn, calls := 0, 0
	c := &mqttClient{
		soak: s, name: name, token: fmt.Sprint("pump-", i), window: mqttWindow, pace: pumpPace,
		filters: []string{"v1/devices/me/rpc/request/+", "v1/devices/me/rpc/response/+", "v1/devices/me/attributes"},
	}
	c.next = func() *publish {
		turn++
		if turn%countEach == 0 && !count.busy() { // two values in flight may overtake each other on the way here
			n := count.next()
			return &publish{topic: "v1/devices/me/attributes", payload: fmt.Appendf(nil, `{"count":%d}`, n), acked: func() { count.ack(n) }}
		}
		if turn%countEach == 10 {
			calls++
			return &publish{
				topic: fmt.Sprint("v1/devices/me/rpc/request/", calls), acked: func() {},
				payload: fmt.Appendf(nil, `{"method":"echo","params":{"n":%d}}`, calls),
			}
		}
		k := 1 + random.IntN(largest)
		from := readings.take(k)
		return &publish{
			topic: "v1/devices/me/telemetry", payload: readings.appendReadings(nil, from, k, random.IntN(2) == 0),
			acked: func() { readings.ack(from, k) },
		}
	}
	c.heard = func(topic string, payload []byte) *publish {
		if id, ok := strings.CutPrefix(topic, "v1/devices/me/rpc/request/"); ok {
			var command struct{ Params json.RawMessage }
			if err := json.Unmarshal(payload, &command); err != nil {
				s.breach("%s gets a command that is no JSON: %q", name, payload)
				return nil
			}
			return &publish{topic: "v1/devices/me/rpc/response/" + id, payload: command.Params}
		}
		if id, ok := strings.CutPrefix(topic, "v1/devices/me/rpc/response/"); ok {
			s.up.count(string(payload), `{"n":`+id+`}`, strings.HasPrefix(string(payload), `{"error"`), s)
		}
		return nil
	}
	c.run(ctx)
}

// hub is a gateway: it publishes for its sub-devices, which it introduces one after the other.
func (s *soak) hub(ctx context.Context, each time.Duration) {
	random := rand.New(rand.NewPCG(s.seed, 200))
	type child struct {
		name     string
		readings *stream
		count    *counter
	}
	var children []child
	began, turn := time.Now(), 0
	c := &mqttClient{
		soak: s, name: "hub", token: "hub-0", window: mqttWindow, pace: hubPace,
		filters: []string{"v1/gateway/rpc", "v1/gateway/attributes"},
	}
	c.next = func() *publish {
		turn++
		if len(children) == 0 || len(children) < maxChildren && time.Since(began) > each*time.Duration(len(children)) {
			name := fmt.Sprint("valve ", len(children))
			children = append(children, child{name, s.stream(name), s.counter(name)})
			s.children.Store(int64(len(children)))
			if len(children)%2 == 0 { // every other one by its data alone
				return &publish{
					topic: "v1/gateway/connect", payload: fmt.Appendf(nil, `{"device":%q,"type":"valve"}`, name), acked: func() {},
				}
			}
			turn = 1
		}
		a := children[len(children)-1]
		if turn%3 != 1 {
			a = children[random.IntN(len(children))]
		}
		if turn%countEach == 0 && !a.count.busy() {
			n := a.count.next()
			return &publish{
				topic: "v1/gateway/attributes", payload: fmt.Appendf(nil, `{%q:{"count":%d}}`, a.name, n),
				acked: func() { a.count.ack(n) },
			}
		}
		// One message for two devices is acknowledged for both.
		b := children[random.IntN(len(children))]
		k, j := 1+random.IntN(largest), 0
		from, behind := a.readings.take(k), 0
		text := a.readings.appendReadings(fmt.Appendf(nil, `{%q:`, a.name), from, k, true)
		if b.name != a.name {
			j = 1
			behind = b.readings.take(j)
			text = b.readings.appendReadings(fmt.Appendf(text, `,%q:`, b.name), behind, j, true)
		}
		return &publish{topic: "v1/gateway/telemetry", payload: append(text, '}'), acked: func() {
			a.readings.ack(from, k)
			b.readings.ack(behind, j)
		}}
	}
	c.heard = func(topic string, payload []byte) *publish {
		if topic != "v1/gateway/rpc" {
			return nil
		}
		var command struct {
			Device string
			Data   struct {
				ID     int
				Params json.RawMessage
			}
		}
		if err := json.Unmarshal(payload, &command); err != nil {
			s.breach("the hub gets a command that is no JSON: %q", payload)
			return nil
		}
		return &publish{topic: "v1/gateway/rpc", payload: fmt.Appendf(nil, `{"device":%q,"id":%d,"data":%s}`,
			command.Device, command.Data.ID, command.Data.Params)}
	}
	c.run(ctx)
}

// newborns provisions a device each interval; each sends some readings of its own.
func (s *soak) newborns(ctx context.Context, each time.Duration) {
	client := ofHTTP()
	for i := 0; s.wait(ctx, each); i++ {
		// A request without an answer may have been carried out, so each one names another device.
		name := fmt.Sprint("newborn ", i)
		code, text := s.ask(ctx, client, http.MethodPost, "/api/v1/provision",
			fmt.Sprintf(`{"deviceName":%q,"provisionDeviceKey":%q,"provisionDeviceSecret":%q}`, name, provisionKey, provisionSecret))
		var born struct{ Status, CredentialsValue string }
		if code != http.StatusOK || json.Unmarshal([]byte(text), &born) != nil || born.Status != "SUCCESS" {
			s.born.failed.Add(1)
			continue
		}
		s.born.done.Add(1)
		readings := s.stream(name)
		for range 3 {
			from := readings.take(2)
			if s.deliver(ctx, client, "/api/v1/"+born.CredentialsValue+"/telemetry", readings.appendReadings(nil, from, 2, true)) {
				readings.ack(from, 2)
			}
		}
	}
}

// answers counts the answers to calls.
type answers struct{ done, failed atomic.Int64 }

// count counts an answer; a wrong one is a breach.
func (a *answers) count(got, want string, failed bool, s *soak) {
	switch {
	case failed:
		a.failed.Add(1)
	case sameJSON(got, want):
		a.done.Add(1)
	default:
		s.breach("a call was answered with %.200q instead of %q", got, want)
	}
}

func sameJSON(a, b string) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, []byte(a)) == nil && json.Compact(&y, []byte(b)) == nil && x.String() == y.String()
}

// caller calls devices from the cloud, one call at a time. Calls fail while the link or the device
// is gone; an answer is that of the device.
func (s *soak) caller(ctx context.Context) {
	random := rand.New(rand.NewPCG(s.seed, 300))
	for n := 0; s.wait(ctx, time.Second); n++ {
		name := "meter 0"
		switch random.IntN(3) {
		case 0:
			name = "pump 1"
		case 1:
			name = fmt.Sprint("valve ", random.IntN(max(1, int(s.children.Load()))))
		}
		id, ok := s.idOf(name)
		if !ok {
			continue
		}
		want := fmt.Sprintf(`{"n":%d}`, n)
		got, err := s.cloud.CallRPC(ctx, id, "echo", want, false, 5*time.Second)
		s.down.count(got, want, err != nil, s)
	}
}

// setter changes a shared attribute of one device after the other; the last value of each must have
// come down at the end.
func (s *soak) setter(ctx context.Context) {
	for n := 1; s.wait(ctx, time.Second); n++ {
		i := n % meters
		if id, ok := s.idOf(fmt.Sprint("meter ", i)); ok {
			s.cloud.SetSharedAttributes(id, []*proto.KeyValueProto{{Key: "set", Type: proto.KeyValueType_LONG_V, LongV: int64(n)}}, true)
			s.shared[i].Store(int64(n))
		}
	}
}

// wait is pause, and goes on while the gate is shut; false when the context has ended.
func (s *soak) wait(ctx context.Context, d time.Duration) bool {
	for err := rig.Pause(ctx, d); ; err = rig.Pause(ctx, 20*time.Millisecond) {
		if err != nil {
			return false
		}
		if s.gate.open() {
			return true
		}
	}
}

// errLate is the end of a wait that had a limit.
var errLate = errors.New("waited too long")

// until polls ok until it is true, the limit passes, or the context ends.
func until(ctx context.Context, limit time.Duration, what string, ok func() bool) error {
	for begun := time.Now(); !ok(); {
		if time.Since(begun) > limit {
			return fmt.Errorf("%w (%v): %s", errLate, limit, what)
		}
		if err := rig.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
