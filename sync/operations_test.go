package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/wal"
)

// tableAfter returns the cells of the first table behind a text of OPERATIONS.md, without the head
// of the table.
func tableAfter(t *testing.T, text, after string) (rows [][]string) {
	t.Helper()
	_, text, ok := strings.Cut(text, after)
	if !ok {
		t.Fatalf("OPERATIONS.md has no %q", after)
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "|\n "), "|")
			for i, c := range cells {
				cells[i] = strings.TrimSpace(c)
			}
			rows = append(rows, cells)
		case len(rows) > 0:
			return rows[2:]
		}
	}
	t.Fatalf("no table behind %q", after)
	return nil
}

// logBytes returns the bytes that an event with these values takes in the log.
func logBytes(t *testing.T, kv []proto.KV) float64 {
	t.Helper()
	q, err := wal.Open(wal.Options{Dir: filepath.Join(t.TempDir(), "queue")})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	const n, now = 1000, 1767225600000
	id := proto.UUID([]byte("an id of 16 byte")) // with zeros in it an id would be shorter
	event := wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: now, Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, "DEVICE", now, kv),
	}
	events := make([]wal.Event, n)
	for i := range events {
		events[i] = event
	}
	before := q.Stats().Bytes
	if err := q.Append(context.Background(), events...); err != nil {
		t.Fatal(err)
	}
	return float64(q.Stats().Bytes-before) / n
}

// hoursOf returns the hours in a text such as "17 min", "2.9 h", "31 d" or "3.4 years".
func hoursOf(t *testing.T, text string) float64 {
	t.Helper()
	number, unit, _ := strings.Cut(text, " ")
	f, err := strconv.ParseFloat(number, 64)
	hours, ok := map[string]float64{"min": 1. / 60, "h": 1, "d": 24, "years": 365 * 24}[unit]
	if err != nil || !ok {
		t.Fatalf("%q is no time", text)
	}
	return f * hours
}

// The tables of OPERATIONS.md are right about the bytes of an event, and about how long the queue
// can be offline.
func TestRoomTable(t *testing.T) {
	b, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	ten := `{"energy":20.5,"power":230.1,"voltage":231.4,"current":1.2,"reactive":12.2,"apparent":270.1,"frequency":50.01,"factor":0.98,` +
		`"temperature":31.5,"load":0.5}`
	object := regexp.MustCompile("^`({.*})`$")
	sizes := tableAfter(t, text, "Three sizes to compare")
	if len(sizes) != 3 {
		t.Fatalf("%d sizes", len(sizes))
	}
	for _, row := range sizes {
		body := ten
		if m := object.FindStringSubmatch(row[0]); m != nil {
			body = m[1]
		}
		var values map[string]any
		if err := json.Unmarshal([]byte(body), &values); err != nil {
			t.Fatal(err)
		}
		var kv []proto.KV
		for key, v := range values {
			switch v := v.(type) {
			case float64:
				kv = append(kv, proto.KV{Key: []byte(key), Type: proto.KeyValueType_DOUBLE_V, Double: v})
			case bool:
				kv = append(kv, proto.KV{Key: []byte(key), Type: proto.KeyValueType_BOOLEAN_V, Bool: v})
			}
		}
		want, err := strconv.ParseFloat(row[1], 64)
		if got := logBytes(t, kv); err != nil || got < want*0.98 || got > want*1.02 {
			t.Errorf("%s takes %.1f bytes, not %s (%v)", row[0], got, row[1], err)
		}
		if n := strings.ReplaceAll(row[2], ",", ""); n != fmt.Sprint(1<<20/int(want)) {
			t.Errorf("%s: %s events in 1 MiB", row[0], row[2])
		}
	}
	rooms := []float64{1, 8, 64, 256, 1024}
	for _, row := range tableAfter(t, text, "So long the first of these fits") {
		rate, err := strconv.ParseFloat(row[0], 64)
		if err != nil || len(row) != 1+len(rooms) {
			t.Fatalf("%q (%v)", row, err)
		}
		for i, room := range rooms {
			want := room * (1 << 20) / 100 / rate / 3600
			if got := hoursOf(t, row[1+i]); got < want*0.96 || got > want*1.04 {
				t.Errorf("%s events a second and %v MiB: %s, but it is %.2f h", row[0], room, row[1+i], want)
			}
		}
	}
}
