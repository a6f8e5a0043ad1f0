package cli

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gproto "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal"
)

// The queue of makeQueue: two devices' telemetry, attributes and new credentials, an hour apart
// from base on.
var (
	base   = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	first  = proto.UUID{0x78, 15: 1}
	second = proto.UUID{0x78, 15: 2}
)

const (
	firstID  = "78000000-0000-0000-0000-000000000001"
	secondID = "78000000-0000-0000-0000-000000000002"
)

func number(key string, v int64) []proto.KV {
	return []proto.KV{{Key: []byte(key), Type: proto.KeyValueType_LONG_V, Long: v}}
}

// makeQueue makes a data directory whose queue holds seven events, at the offsets 2 to 8, as the
// first frame of a segment is a control frame. Three are committed: two deployed, one dead. The
// dead-letter log holds the offsets 4 and 5, of which only 4 is committed and counts.
func makeQueue(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	credentials, err := gproto.Marshal(&proto.UplinkMsg{DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{
		Entity: `{"deviceId":{"entityType":"DEVICE","id":"` + secondID + `"},"credentialsType":"ACCESS_TOKEN","credentialsId":"hush-hush"}`,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	events := []wal.Event{
		{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: first,
			Fragment: proto.AppendTelemetry(nil, first, "DEVICE", 1000, number("temperature", 21)),
		},
		{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second,
			Fragment: proto.AppendTelemetry(nil, second, "DEVICE", 2000, number("temperature", 22)),
		},
		{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: first,
			Fragment: proto.AppendTelemetry(nil, first, "DEVICE", 3000, number("temperature", 23)),
		},
		{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionPostAttributes), Entity: first,
			Fragment: proto.AppendPostAttributes(nil, first, "DEVICE", "CLIENT_SCOPE", []proto.KV{
				{Key: []byte("evil"), Type: proto.KeyValueType_STRING_V, Str: []byte("a\x1b[31m\u009b b")},
			}),
		},
		{Kind: uint8(proto.KindDeviceCredentials), Action: uint8(proto.ActionCredentialsUpdated), Entity: second, Fragment: credentials},
		{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second,
			Fragment: proto.AppendTelemetry(nil, second, "DEVICE", 4000, []proto.KV{
				{Key: []byte("text"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("long ", 100))},
			}),
		},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second, Fragment: []byte("no fragment")},
	}
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		events[i].Time = base.Add(time.Duration(i) * time.Hour).UnixMilli()
	}
	if err := q.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Commit(wal.Position{Offset: 4, Seq: 3}, 2, 1), q.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), deadBytes, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	dead := wal.DeadLetter{
		Event: events[2], Offset: 4, Reason: "Validation error: \x1b[31mno", Tries: 3,
		At: base.Add(time.Minute), Resting: true,
	}
	early := dead
	early.Offset = 5 // a crash came before its commit: the queue still has it
	if err := errors.Join(d.Put(dead), d.Put(early), d.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// objects reads JSON Lines.
func objects(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		list = append(list, m)
	}
	return list
}

func offsets(t *testing.T, out string) (list []int) {
	t.Helper()
	for _, m := range objects(t, out) {
		list = append(list, int(m["offset"].(float64)))
	}
	return list
}
