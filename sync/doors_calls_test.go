package sync_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// TestCallsThroughTheDoors calls devices from the cloud in every way in which one takes calls: a
// one-way call is over when it was handed over, without a PUBACK; what a device replies goes to its
// caller as it is, who gets 406 for what is no JSON (API.md 4.2).
func TestCallsThroughTheDoors(t *testing.T) {
	type way struct {
		name    string
		connect func(p *player)                     // a party that takes calls; nil: it comes later
		device  func(p *player) proto.UUID          // that is called
		reply   func(p *player, id, payload string) // of the device
	}
	post := func(p *player, id, payload string) {
		w := httptest.NewRecorder()
		q := httptest.NewRequestWithContext(p.Context(), "POST", "/api/v1/token-dev/rpc/"+id, strings.NewReader(payload))
		if p.http.ServeHTTP(w, q); w.Code != 200 {
			p.Errorf("the reply over HTTP: %d", w.Code)
		}
	}
	poll := func(p *player) {
		go func() {
			if w := p.get("rpc?timeout=20000"); w.Code == 200 {
				p.polled <- w.Body.String()
			}
		}()
	}
	dev := func(p *player) proto.UUID { return p.device.ID }
	over := func(connect, subscribe string) func(p *player) {
		return func(p *player) {
			p.client = p.connect(connect)
			p.client.subscribe(subscribe)
		}
	}
	mqtt := func(p *player, id, payload string) {
		p.client.publish("q1 v1/devices/me/rpc/response/" + id + " " + payload)
	}
	ways := []way{
		{"MQTT 3.1.1", over(`v4 {"user": "token-dev"}`, `["v1/devices/me/rpc/request/+"]`), dev, mqtt},
		{"MQTT 5", over(`v5 {"user": "token-dev"}`, `["v2/r/req/+"]`), dev, mqtt},
		{"MQTT, the reply over HTTP", over(`v4 {"user": "token-dev"}`, `["v1/devices/me/rpc/request/+"]`), dev, post},
		{"a poll", poll, dev, post},
		{"a gateway", func(p *player) {
			over(`v4 {"user": "token-gw"}`, `["v1/gateway/rpc"]`)(p)
			p.client.publish(`q1 v1/gateway/connect {"device":"after"}`)
		}, func(p *player) proto.UUID { return p.after.ID }, nil},
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.polled = make(chan string, 1)
		for n, w := range ways {
			p.begin(n)
			p.elapse(time.Minute) // a poll of the way before ends
			for len(p.polled) > 0 {
				<-p.polled
			}
			call := func(oneway bool) (answer func() string) {
				done := make(chan string, 1)
				go func() {
					response, err := p.cloud.CallRPC(p.Context(), w.device(p), "m", "1", oneway, 10*time.Second)
					if err != nil {
						response = err.Error()
					}
					done <- response
				}()
				p.elapse(2 * time.Second)
				return func() string {
					select {
					case text := <-done:
						return text
					default:
						return "none"
					}
				}
			}
			w.connect(p)
			p.elapse(time.Second)
			if got := call(true)(); got != "{}" {
				t.Errorf("%s, the one-way call: %s", w.name, got)
			}
			if w.reply == nil {
				continue
			}
			for _, c := range []struct{ reply, want string }{
				{"plain words", "rpc: 406 "},
				{"{", "rpc: 406 "},
				{"tru", "rpc: 406 "},
				{`{"ok":true}`, `{"ok":true}`},
				{"7", "7"},
				{"null", "null"},
			} {
				if w.name == "a poll" {
					for len(p.polled) > 0 {
						<-p.polled
					}
					poll(p)
					p.elapse(time.Second)
				}
				answer := call(false)
				if got := answer(); got != "none" {
					t.Errorf("%s: the call is answered before its reply: %s", w.name, got)
				}
				w.reply(p, p.lastCall(), c.reply)
				p.elapse(2 * time.Second)
				if got := answer(); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s, the reply %s: %s, want %s", w.name, c.reply, got, c.want)
				}
			}
		}
	})
}

// lastCall is the number of the command that the device got last.
func (p *player) lastCall() string {
	if p.client == nil {
		_, rest, _ := strings.Cut(<-p.polled, `"id":`)
		id, _, _ := strings.Cut(rest, ",")
		return id
	}
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	topic, _, _ := strings.Cut(p.client.bodies[len(p.client.bodies)-1], " ")
	return topic[strings.LastIndexByte(topic, '/')+1:]
}
