package device

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/share"
)

// texts are attributes of so many bytes each, with the keys k0, k1 and so on.
func texts(n, size int) (list []proto.KV) {
	for i := range n {
		list = append(list, proto.KV{
			Key: fmt.Appendf(nil, "k%d", i), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("x", size)),
		})
	}
	return list
}

// TestKeysAreAnsweredOnce asks for one key two thousand times, in every way in which a device can
// ask.
func TestKeysAreAnsweredOnce(t *testing.T) {
	const size = 10 << 10
	s, do := httpStand(t)
	for _, id := range []proto.UUID{lampID, gatewayID} {
		s.book.attributes[registry.ClientScope][id] = texts(2, size)
		s.book.attributes[registry.SharedScope][id] = texts(2, size)
	}
	check := func(way, answer string, parts int) {
		t.Helper()
		if n := len(answer); n < parts*size || n > parts*size+200 {
			t.Errorf("%s: an answer of %d bytes", way, n)
		}
	}
	many := strings.Repeat("k0,", 2000) + "k1"
	_, body := do("GET", "lamp/attributes?clientKeys="+many+"&sharedKeys="+many, "")
	check("HTTP, in one list", body, 4)
	_, body = do("GET", "lamp/attributes?"+strings.Repeat("clientKeys=k0&", 1000), "")
	check("HTTP, in many lists", body, 1)
	d := s.dial(4, "gateway")
	d.subscribe("v1/devices/me/attributes/response/+", 0)
	d.ask("v1/devices/me/attributes/request/1", `{"clientKeys":"`+many+`"}`, 1)
	_, body, _ = d.message()
	check("MQTT", body, 2)
	d.subscribe("v1/gateway/attributes/response", 0)
	d.ask("v1/gateway/attributes/request",
		`{"id":1,"device":"Lamp","client":true,"keys":["k1"`+strings.Repeat(`,"k0"`, 2000)+`]}`, 2)
	_, body, _ = d.message()
	check("a gateway", body, 2)
	message, whole := attributesMessage(s.book, lampID, 1, question{shared: true, sharedKeys: splitKeys(many)}, 1<<20)
	if !whole {
		t.Error("protobuf: not whole")
	}
	check("protobuf", string(message), 2)
}

// TestAnswersAreBounded expects that an answer which would be too large is refused as the API
// refuses, and that one which just fits comes whole.
func TestAnswersAreBounded(t *testing.T) {
	s, do := httpStand(t)
	set := func(n int) {
		s.book.attributes[registry.ClientScope][lampID] = texts(n, 50<<10)
		s.book.attributes[registry.SharedScope][lampID] = texts(n, 50<<10)
	}
	set(10)
	if code, body := do("GET", "lamp/attributes", ""); code != 200 || len(body) < 1000<<10 || len(body) > maxAnswer {
		t.Errorf("%d, %d bytes", code, len(body))
	}
	set(11)
	if code, body := do("GET", "lamp/attributes", ""); code != 400 || !strings.Contains(body, "ask for fewer keys") ||
		!strings.Contains(body, `"errorCode":31`) {
		t.Errorf("%d, %.200s", code, body)
	}
	if code, body := do("GET", "lamp/attributes?clientKeys=k1", ""); code != 200 || len(body) < 50<<10 {
		t.Errorf("%d, %d bytes", code, len(body))
	}
	for _, v := range versions {
		d := s.dial(v, "lamp")
		d.subscribe("v1/devices/me/attributes/response/+", 0)
		d.ask("v1/devices/me/attributes/request/1", `{"clientKeys":"k0,k1,k2"}`, 1)
		if _, body, _ := d.message(); len(body) < 150<<10 || len(body) > maxAnswerMQTT {
			t.Errorf("MQTT: %d bytes", len(body))
		}
		d.publish("v1/devices/me/attributes/request/1", `{"clientKeys":"k0,k1,k2,k3,k4"}`, 2)
		reason := byte(0)
		if v == 5 {
			reason = reasonQuota
		}
		d.puback(2, reason)
		d.alive()
		d.Close()
	}
	if n := s.answers.Used(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	// Text that takes six bytes in JSON for one counts as what it takes.
	text := []byte(strings.Repeat("\x01\"é", 1000))
	if got, want := jsonSize(text), len(proto.AppendJSONString(nil, text))-len(`""`); got != want {
		t.Errorf("a size of %d, want %d", got, want)
	}
}

// TestSlowReadersOfLargeAnswers lets one device ask on a hundred connections and read nothing.
// The answers hold no more than their budget, and others are answered.
func TestSlowReadersOfLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		for _, id := range []proto.UUID{lampID, gatewayID} {
			s.book.attributes[registry.ClientScope][id] = texts(10, 90<<10)
		}
		h := NewHTTP(s.Doors, 0)
		l := newPipeListener()
		srv := NewServer(h, slog.New(slog.DiscardHandler))
		go srv.Serve(s.Listen(l))
		ask := func(token string) net.Conn {
			client, server := net.Pipe()
			l.conns <- from{server, hostile}
			io.WriteString(client, "GET /api/v1/"+token+"/attributes HTTP/1.1\r\nHost: x\r\n\r\n")
			return client
		}
		var conns []net.Conn
		for range 100 {
			conns = append(conns, ask("gateway"))
		}
		synctest.Wait()
		if n := s.answers.Used(); n > largeAnswers {
			t.Errorf("%d bytes are held", n)
		}
		for range 10 {
			began := time.Now()
			c := ask("lamp")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if took := time.Since(began); err != nil || resp.StatusCode != 200 || len(body) < 900<<10 || took > 3*time.Second {
				t.Errorf("%d, %d bytes, %v after %v", resp.StatusCode, len(body), err, took)
			}
			c.Close()
		}
		for _, c := range conns {
			c.Close()
		}
		srv.Close()
		time.Sleep(time.Minute)
		if n := s.answers.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
		s.MQTT.Close()
	})
}

// TestNoAnswerIsBuiltBeforeItsTurn: an answer that waits until others are read is not in memory.
func TestNoAnswerIsBuiltBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		const size = 500 << 10
		var built, answered atomic.Int64
		l := newPipeListener()
		srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer answered.Add(1)
			h.reply(w, r, lampID, func(limit int) ([]byte, bool) {
				if limit < size {
					return nil, false
				}
				built.Add(size)
				return make([]byte, size), true
			})
		}), slog.New(slog.DiscardHandler))
		go srv.Serve(s.Listen(l))
		var conns []net.Conn
		for range 60 {
			client, server := net.Pipe()
			l.conns <- from{server, hostile}
			io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			conns = append(conns, client)
		}
		// Nobody reads. Who is slow gives way in turn; so at each moment only those that have their
		// bytes may have an answer.
		for range 200 {
			synctest.Wait()
			if n := built.Load() - answered.Load()*size; n > largeAnswers {
				t.Fatalf("%d bytes of answers are in memory, at most %d", n, largeAnswers)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if built.Load() < largeAnswers/2 {
			t.Errorf("%d bytes were built", built.Load())
		}
		for _, c := range conns {
			c.Close()
		}
		srv.Close()
		time.Sleep(time.Minute)
		if n := s.answers.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
		s.MQTT.Close()
	})
}

// TestAnswerKeepsItsBytes: an answer that has been built goes out, although others wait for bytes
// meanwhile.
func TestAnswerKeepsItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		const size = 500 << 10
		var rest, other share.Pass
		s.answers.Open(&rest, share.Owner{1}, nil)
		if _, err := rest.Grow(largeAnswers-maxAnswer, nil); err != nil {
			t.Fatal(err)
		}
		rest.Ours()
		done := make(chan error, 1)
		w := httptest.NewRecorder()
		h.reply(w, httptest.NewRequest("GET", "/", nil), lampID, func(limit int) ([]byte, bool) {
			if limit < size {
				return nil, false
			}
			go func() {
				s.answers.Open(&other, share.Owner{2}, nil)
				_, err := other.Grow(maxAnswer, nil)
				done <- err
			}()
			synctest.Wait()
			return make([]byte, size), true
		})
		if w.Code != http.StatusOK || w.Body.Len() != size {
			t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
		}
		rest.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		other.Close()
		if n := s.answers.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
		s.MQTT.Close()
	})
}

// TestAnswersOverMQTTAreBoundedTogether lets devices ask for large answers and read none of them.
func TestAnswersOverMQTTAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		ask := (&tester{T: t, version: 4}).publishPacket("v1/devices/me/attributes/request/1", `{"clientKeys":"k0"}`, 0)
		for i := range 60 {
			device := deviceNumber(i)
			s.book.enrol(fmt.Sprint("many", i), device)
			s.book.attributes[registry.ClientScope][device.ID] = texts(1, 200<<10)
			client, server := net.Pipe()
			s.MQTT.start(server)
			client.Write(connectPacket(4, "", fmt.Sprint("many", i), ""))
			io.ReadFull(client, make([]byte, 4))
			client.Write(ask)
			synctest.Wait()
			if n := s.net.out.Load(); n > maxOutAll+stallOut {
				t.Fatalf("%d bytes are unsent", n)
			}
		}
		// As soon as the first of them are closed there is room again.
		time.Sleep(sendLimit)
		synctest.Wait()
		s.book.attributes[registry.ClientScope][lampID] = texts(1, 200<<10)
		d := s.dial(4, "lamp")
		d.publish("v1/devices/me/attributes/request/1", `{"clientKeys":"k0"}`, 0)
		if _, body, _ := d.message(); len(body) < 200<<10 {
			t.Errorf("%d bytes", len(body))
		}
		d.Close()
		time.Sleep(sendLimit)
		s.MQTT.Close()
	})
}
