package device

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/device/payload"
)

// backfill is what a logger kept while it was offline: n rows, one a second.
func backfill(n int) string { return rowsOf(n, "1000.1") }

// wide is backfill with rows of some 450 bytes.
func wide(n int) string { return rowsOf(n, `"`+strings.Repeat("x", 400)+`"`) }

func rowsOf(n int, value string) string {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, `{"ts": `...)
		b = strconv.AppendInt(b, 1700000000000+1000*int64(i), 10)
		b = append(append(append(b, `, "values": {"t": 20.5, "h": 50, "p": `...), value...), "}}"...)
	}
	return string(append(b, ']'))
}

// rowIntake counts rows of backfill and holds their times against their order.
type rowIntake struct {
	mu          sync.Mutex
	calls, rows int
	most        int   // rows in one call
	failAt      int   // the call that fails; 0: none
	wrong       error // what was wrong with a row
	bodies      func() int
	held        int // bytes of bodies, at most
}

func (i *rowIntake) Accept(_ context.Context, events []proto.Event) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.calls++; i.calls == i.failAt {
		return errors.New("full")
	}
	if i.bodies != nil {
		i.held = max(i.held, i.bodies())
	}
	i.most = max(i.most, len(events))
	for _, e := range events {
		var m proto.UplinkMsg
		if err := pb.Unmarshal(e.Fragment, &m); err != nil {
			return err
		}
		l := m.EntityData[0].PostTelemetryMsg.TsKvList[0]
		if want := 1700000000000 + 1000*int64(i.rows); l.Ts != want || len(l.Kv) != 3 {
			i.wrong = fmt.Errorf("row %d: %v", i.rows, l)
		}
		i.rows++
	}
	return nil
}

// postBody posts telemetry of the thermometer. A negative length is that of a chunked body.
func postBody(h *HTTP, body string, length int64, kind string) *httptest.ResponseRecorder {
	r := telemetryPost(&countingReader{r: strings.NewReader(body)})
	r.ContentLength = length
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestBackfill posts bodies beyond a megabyte, up to the largest (API.md 2): every row is stored,
// in order, and no more of the text is in memory than a window.
func TestBackfill(t *testing.T) {
	for _, c := range []struct {
		rows    int
		pad     bool // to the largest body
		chunked bool
	}{{20000, false, false}, {20000, false, true}, {17000, true, false}, {17000, true, true}} {
		intake := &rowIntake{}
		h := newTestDoor(intake, 0)
		intake.bodies = h.bodies.Used
		body := backfill(c.rows)
		if c.pad {
			body += strings.Repeat(" ", DefaultMaxBody-len(body))
		}
		length, most := int64(len(body)), rowWindow
		if c.chunked {
			length, most = -1, wholeBody+1
		}
		w := postBody(h, body, length, "application/json")
		if w.Code != 200 || w.Body.Len() != 0 || intake.rows != c.rows || intake.wrong != nil {
			t.Errorf("%+v, %d bytes: %d %s, %d rows, %v", c, len(body), w.Code, w.Body, intake.rows, intake.wrong)
		}
		if intake.held > most || intake.most > 4096 || h.bodies.Used() != 0 {
			t.Errorf("%+v: %d bytes were held, at most %d; %d rows in one call; %d bytes are left",
				c, intake.held, most, intake.most, h.bodies.Used())
		}
	}
}

// TestBackfillBeyondTheLargestBody expects 413, and of a chunked body to be told what is stored.
func TestBackfillBeyondTheLargestBody(t *testing.T) {
	const limit = 2 << 20
	body := wide(5000)
	intake := &rowIntake{}
	w := postBody(newTestDoor(intake, limit), body, int64(len(body)), "")
	if w.Code != 413 || w.Body.String() != `"Payload size exceeds the limit of 2097152 bytes"` || intake.rows != 0 {
		t.Errorf("%d %s, %d rows", w.Code, w.Body, intake.rows)
	}
	intake = &rowIntake{}
	w = postBody(newTestDoor(intake, limit), body, -1, "")
	want := fmt.Sprintf("the body is larger than 2097152 bytes; the first %d elements are stored", intake.rows)
	if w.Code != 413 || !strings.Contains(w.Body.String(), want) || intake.rows < 3000 || intake.wrong != nil {
		t.Errorf("%d %s, want %s", w.Code, w.Body, want)
	}
}

// TestBackfillWithAnError expects the rows in front of an error to be stored, the answer to count
// them, and of a body of at most a megabyte nothing.
func TestBackfillWithAnError(t *testing.T) {
	good, small := wide(2700), wide(2000)
	cut := func(body, end string) string { return body[:len(body)-1] + end }
	for name, c := range map[string]struct {
		body string
		rows int
		code int
		says string
	}{
		"a bad last element": {
			cut(good, `, {"a":1,}]`), 2700, 400,
			`bad JSON: '}' where a key should be (at byte ` + strconv.Itoa(len(good)+8) + ")",
		},
		"a last element missing": {cut(good, `,]`), 2700, 400, "bad JSON"},
		"no object":              {cut(good, `, 5]`), 2700, 400, "an element of the telemetry array must be a JSON object"},
		"no end":                 {cut(good, ``), 2700, 400, "the text ends where"},
		"text behind":            {good + "x", 2700, 400, "the end of the text"},
		"a bad key":              {cut(good, `, {"":1}]`), 2700, 400, "is empty"},
		"a bad ts":               {cut(good, `, {"ts":"x","values":{}}]`), 2700, 400, `"ts" must be a number`},
		"small, a bad element":   {cut(small, `, {"a":1,}]`), 0, 400, "bad JSON: '}' where a key should be"},
		"small, no end":          {cut(small, ``), 0, 400, "the text ends where"},
	} {
		for _, length := range []int64{int64(len(c.body)), -1} {
			intake := &rowIntake{}
			h := newTestDoor(intake, 0)
			w := postBody(h, c.body, length, "")
			says := fmt.Sprintf("; the first %d elements are stored", c.rows)
			if c.rows == 0 {
				says = ""
			}
			text := strings.ReplaceAll(w.Body.String(), `\"`, `"`)
			if w.Code != c.code || !strings.Contains(text, c.says) || !strings.Contains(text, says) ||
				intake.rows != c.rows || intake.wrong != nil || says == "" && strings.Contains(text, "stored") {
				t.Errorf("%s: %d %s, %d rows, %v", name, w.Code, text, intake.rows, intake.wrong)
			}
			if n := h.bodies.Used(); n != 0 {
				t.Errorf("%s: %d bytes are left", name, n)
			}
		}
	}
}

// TestBackfillThatIsNotTaken lets the intake refuse a group: what is durable before it stays, and
// the device is asked to come again.
func TestBackfillThatIsNotTaken(t *testing.T) {
	intake := &rowIntake{failAt: 4}
	h := newTestDoor(intake, 0)
	body := wide(5000)
	w := postBody(h, body, int64(len(body)), "")
	want := fmt.Sprintf("send it again later; the first %d elements are stored", intake.rows)
	if w.Code != 503 || w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), want) ||
		intake.calls != 4 || intake.rows == 0 || intake.wrong != nil || h.bodies.Used() != 0 {
		t.Errorf("%d %v %s, %d rows in %d calls, want %s", w.Code, w.Header(), w.Body, intake.rows, intake.calls, want)
	}
}

// TestBackfillInOtherWords posts large bodies that are lenient, or not UTF-8.
func TestBackfillInOtherWords(t *testing.T) {
	plain := wide(2700)
	lenient := strings.NewReplacer(`"ts": `, "ts=", `"values"`, "'values'", "}}, ", "}};// x\n").Replace(plain)
	var wide strings.Builder
	for i := range len(plain) {
		wide.WriteByte(plain[i])
		wide.WriteByte(0)
	}
	for name, c := range map[string]struct{ body, kind string }{
		"lenient":       {"\ufeff)]}'\n" + lenient, ""},
		"comments":      {strings.ReplaceAll(plain, ", {", "/* ]} */,#]\n{"), ""},
		"UTF-16":        {"\xff\xfe" + wide.String(), "application/json;charset=utf-16"},
		"ISO 8859":      {strings.ReplaceAll(plain, `"t"`, "\"\xb0C\""), "application/json;charset=iso-8859-1"},
		"not UTF-8":     {strings.ReplaceAll(plain, `"t"`, "\"\xb0C\""), "application/json"},
		"two bytes":     {strings.ReplaceAll(plain, `"t"`, `"温度"`), "application/json"},
		"one long row":  {strings.Replace(plain, `"h": 50,`, `"h": "`+strings.Repeat("x", 1<<20)+`",`, 1), ""},
		"much in front": {strings.Repeat(" ", 1<<20) + plain, ""},
	} {
		for _, length := range []int64{int64(len(c.body)), -1} {
			intake := &rowIntake{}
			h := newTestDoor(intake, 0)
			w := postBody(h, c.body, length, c.kind)
			if w.Code != 200 || intake.rows != 2700 || intake.wrong != nil || h.bodies.Used() != 0 {
				t.Errorf("%s: %d %s, %d rows, %v", name, w.Code, w.Body, intake.rows, intake.wrong)
			}
		}
	}
}

// TestElementsAreBounded posts an element that is too large for an event.
func TestElementsAreBounded(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", payload.MaxElement) + `"}`
	for name, c := range map[string]struct {
		body, path string
		says       string
	}{
		"behind others": {
			strings.Replace(wide(2700), "]", ", "+long+"]", 1), "telemetry",
			"an element is larger than 3145728 bytes; the first 2700",
		},
		"alone":      {long, "telemetry", "an element is larger than 3145728 bytes; the first 0"},
		"attributes": {long, "attributes", "exceeds the limit of 3145728"},
		"a claim":    {strings.Repeat(" ", wholeBody+1), "claim", "exceeds the limit of 1048576"},
	} {
		intake := &rowIntake{}
		h := newTestDoor(intake, 0)
		r := httptest.NewRequest("POST", "/api/v1/"+goodToken+"/"+c.path, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 413 || !strings.Contains(w.Body.String(), c.says) || w.Header().Get("Connection") != "close" || intake.wrong != nil {
			t.Errorf("%s: %d %s, %d rows, %v", name, w.Code, w.Body, intake.rows, intake.wrong)
		}
	}
	for _, path := range []string{"telemetry", "attributes"} { // one value cannot become several events
		for size, want := range map[int]int{1 << 20: 200, 2 << 20: 413} {
			intake := &fakeIntake{}
			r := httptest.NewRequest("POST", "/api/v1/"+goodToken+"/"+path, strings.NewReader(`{"a":"`+strings.Repeat("x", size)+`"}`))
			w := httptest.NewRecorder()
			newTestDoor(intake, 0).ServeHTTP(w, r)
			_, events := intake.count()
			said := want == 200 || strings.Contains(w.Body.String(), "a value is too large")
			if w.Code != want || (events == 1) != (want == 200) || !said {
				t.Errorf("%s, %d bytes: %d %s, %d events", path, size, w.Code, w.Body, events)
			}
		}
	}
}

// TestSlowBackfill sends large bodies over a slow link, which takes minutes, and one whose sender
// stops: what came of that stays, and nothing of it is held.
func TestSlowBackfill(t *testing.T) {
	for _, c := range []struct {
		rate, most, want int // bytes a second; bytes that are sent; the status
	}{{40 << 10, 5 << 20, 200}, {20 << 10, 3 << 20, 200}, {100 << 10, 2 << 20, 408}} {
		synctest.Test(t, func(t *testing.T) {
			intake := &rowIntake{}
			h := newTestDoor(intake, 0)
			l := newPipeListener()
			srv := NewServer(h, slog.New(slog.DiscardHandler))
			go srv.Serve(h.Listen(l))
			n := c.most / len(wide(1))
			if c.want != 200 {
				n *= 2
			}
			body := wide(n)
			client, server := net.Pipe()
			l.conns <- from{server, "192.0.2.1:1"}
			var sending sync.WaitGroup
			sending.Go(func() {
				io.WriteString(client, post+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n")
				for rest := body[:min(len(body), c.most)]; rest != ""; {
					part := min(len(rest), c.rate)
					if _, err := io.WriteString(client, rest[:part]); err != nil {
						return
					}
					rest = rest[part:]
					time.Sleep(time.Second)
				}
			})
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatalf("%+v: %v, %d rows", c, err, intake.rows)
			}
			text, _ := io.ReadAll(resp.Body)
			kept := strings.Contains(string(text), fmt.Sprintf("the first %d elements are stored", intake.rows))
			if resp.StatusCode != c.want || intake.wrong != nil || (intake.rows == n) != (c.want == 200) || kept != (c.want != 200) {
				t.Errorf("%+v: %d %s, %d of %d rows, %v", c, resp.StatusCode, text, intake.rows, n, intake.wrong)
			}
			client.Close()
			sending.Wait()
			srv.Close()
			synctest.Wait()
			if n := h.bodies.Used(); n != 0 {
				t.Errorf("%d bytes are left", n)
			}
		})
	}
}

// TestManyBackfills sends twenty large bodies at once, each of its own device. All of them are
// stored, or asked to come again, within the budget.
func TestManyBackfills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		l := newPipeListener()
		srv := NewServer(h, slog.New(slog.DiscardHandler))
		go srv.Serve(s.Listen(l))
		body := wide(2700)
		var mu sync.Mutex
		answers := map[int]int{}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				client, server := net.Pipe()
				defer client.Close()
				l.conns <- from{server, fmt.Sprintf("192.0.2.%d:1", i)}
				wg.Go(func() {
					io.WriteString(client, "POST /api/v1/lamp/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: "+
						strconv.Itoa(len(body))+"\r\n\r\n")
					for rest := body; rest != ""; {
						part := min(len(rest), 100<<10)
						if _, err := io.WriteString(client, rest[:part]); err != nil {
							return
						}
						rest = rest[part:]
						time.Sleep(100 * time.Millisecond)
						if n := h.bodies.Used(); n > largeBodies {
							t.Errorf("%d bytes are held", n)
						}
					}
				})
				resp, err := http.ReadResponse(bufio.NewReader(client), nil)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					answers[0]++
					return
				}
				answers[resp.StatusCode]++
			})
		}
		wg.Wait()
		if answers[200] < 5 || answers[200]+answers[503] != 20 {
			t.Errorf("answers %v", answers)
		}
		t.Log(answers)
		srv.Close()
		s.MQTT.Close()
		synctest.Wait()
		if n := h.bodies.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}
