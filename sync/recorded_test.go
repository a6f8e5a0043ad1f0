package sync

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// recordings are the downlinks of all recordings of the real server, by recording and line.
type recordings map[string]map[int]*proto.DownlinkMsg

// loadRecordings reads the recordings in the testdata of this package and of those below it.
func loadRecordings(t *testing.T) recordings {
	t.Helper()
	below, err := filepath.Glob(filepath.Join("*", "testdata", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	list := recordings{}
	for _, file := range append(below, filepath.Join("testdata", "downlinks.jsonl")) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var j struct { // the three forms of carried recordings
				Recording, Type, Raw, Down string
				Line                       int
			}
			if err := json.Unmarshal(s.Bytes(), &j); err != nil {
				t.Fatal(err)
			}
			var m proto.ResponseMsg
			raw, err := base64.StdEncoding.DecodeString(j.Raw + j.Down)
			if j.Down == "" && !strings.HasPrefix(j.Type, "downlinkMsg") ||
				err != nil || pb.Unmarshal(raw, &m) != nil || m.DownlinkMsg == nil {
				continue // some long messages were cut in the recordings
			}
			name := j.Recording
			if name == "" {
				name = strings.TrimSuffix(filepath.Base(file), ".jsonl")
			}
			if list[name] == nil {
				list[name] = map[int]*proto.DownlinkMsg{}
			}
			list[name][j.Line] = m.DownlinkMsg
		}
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
	}
	return list
}

// notKept are the parts that are acknowledged and not stored although they are no deletions: in
// every recording, or in the one named first.
var notKept = map[string]string{
	"adminSettingsUpdateMsg":              "holds mail passwords and the server's signing key",
	"aiModelUpdateMsg":                    "not used here, and holds a key",
	"apiKeyUpdateMsg":                     "not used here, and is a secret",
	"deviceRpcCallMsg":                    "taken by the loop, not by the registry",
	"notificationRuleUpdateMsg":           "not used here",
	"notificationTargetUpdateMsg":         "not used here",
	"notificationTemplateUpdateMsg":       "not used here",
	"queueUpdateMsg":                      "not used here",
	"resourceUpdateMsg":                   "only if registry.keep says so",
	"widgetTypeUpdateMsg":                 "only if registry.keep says so",
	"widgetsBundleUpdateMsg":              "only if registry.keep says so",
	"userUpdateMsg":                       "those of foreign customers come too",
	"userCredentialsUpdateMsg":            "those of foreign customers come too",
	"otaPackageUpdateMsg":                 "only if registry.keep says so",
	"downlink-push alarmUpdateMsg":        "acknowledged and cleared, and its comment has said so before: it is not kept any more",
	"downlink-push alarmCommentUpdateMsg": "one comes before its alarm, whose creation was not pushed",
	"downlink-push entityData":            "telemetry of a device that was asked about just now counts as the answer to the question",
	"uplink-alarm alarmCommentUpdateMsg":  "the alarm went up from the recorded edge and is not here",
	"uplink-requests entityData":          "the devices went up from the recorded edge and are not here",
}

// Every downlink in every recording of the real server is applied and acknowledged when it comes
// for the first time. What stands in a message is kept, except for deletions of what is not here,
// and for notKept.
func TestEveryRecordedDownlink(t *testing.T) {
	list := loadRecordings(t)
	// The downlinks in each recording, without those that were cut there.
	want := map[string]int{
		"connect-second": 2, "downlink-each": 53, "downlink-false-ack": 35, "downlink-no-ack": 53, "downlink-push": 21,
		"edge-update": 6, "eof": 2, "java-edge": 7, "rpc": 38, "rule-chains": 16, "stall-others": 10,
		"sync-diff": 25, "sync-false-ack": 28, "sync-full": 64, "sync-meanwhile": 17, "sync-no-ack": 23,
		"sync-one-missing-ack": 17, "sync-small-max": 5, "ts-types": 2,
		"uplink-alarm": 3, "uplink-attributes": 5, "uplink-bad": 7, "uplink-entities": 1,
		"uplink-relation": 1, "uplink-requests": 29, "uplink-rpc": 5,
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if len(list[name]) != want[name] {
			t.Errorf("%s: %d downlinks, want %d", name, len(list[name]), want[name])
		}
		delete(want, name)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replayDownlinks(t, name, list[name]) })
		})
	}
	if len(want) > 0 {
		t.Errorf("not carried: %v", want)
	}
}

// replayDownlinks sends one recording to an agent with a real registry, as the server sent it.
func replayDownlinks(t *testing.T, name string, list map[int]*proto.DownlinkMsg) {
	r := newRig(t, &script{takes: true}, nil)
	var err error
	options := registry.Options{Dir: filepath.Join(r.dir, "registry"), CorruptDir: filepath.Join(r.dir, "corrupt")}
	if r.real, err = registry.Open(options); err != nil {
		t.Fatal(err)
	}
	r.run()
	defer func() {
		r.stop()
		if err := errors.Join(r.queue.Close(), r.dead.Close(), r.real.Close()); err != nil {
			t.Error(err)
		}
	}()
	r.elapse(time.Minute)
	counts := func() map[string]registry.Count {
		m := map[string]registry.Count{}
		for _, c := range r.real.Counts() {
			m[c.Part] = c
			if c.Malformed > 0 {
				t.Errorf("malformed: %+v", c)
			}
		}
		return m
	}
	before, s := counts(), r.script
	s.mu.Lock()
	send := s.streams[1]
	s.acks = nil
	s.mu.Unlock()
	var ids []int32
	received, updates := map[string]int{}, map[string]int{}
	for _, line := range slices.Sorted(maps.Keys(list)) {
		m := list[line]
		// Without the configuration of another edge, and with an id that does not repeat, as ids do
		// in recordings of several streams.
		m.EdgeConfiguration, m.DownlinkMsgId = nil, int32(1e6+line)
		ids = append(ids, m.DownlinkMsgId)
		count(m, received, updates)
		if err := send(&proto.ResponseMsg{DownlinkMsg: m}); err != nil {
			t.Fatal(err)
		}
		r.elapse(0)
	}
	r.elapse(time.Minute)
	s.mu.Lock()
	defer s.mu.Unlock()
	all := len(s.acks)
	s.acks = slices.DeleteFunc(s.acks, func(id int32) bool { return id < 1e6 })
	received["entityData"] += all - len(s.acks) // the answers to what the agent asked about new devices
	if !slices.Equal(s.acks, ids) || len(s.connects) != 1 {
		t.Errorf("acknowledged in %d sessions: %v, want %v", len(s.connects), s.acks, ids)
	}
	after := counts()
	for part, n := range received {
		got, kept := int(after[part].Received-before[part].Received), int(after[part].Kept-before[part].Kept)
		if got != n || kept > n || kept < updates[part] && notKept[part] == "" && notKept[name+" "+part] == "" {
			t.Errorf("%s: %d received, %d kept; want %d, at least %d", part, got, kept, n, updates[part])
		}
	}
}

// count adds the elements of the parts of m to received, and those that are no deletions to
// updates.
func count(m *proto.DownlinkMsg, received, updates map[string]int) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				received[name]++
				u, ok := v.List().Get(i).Message().Interface().(interface{ GetMsgType() proto.UpdateMsgType })
				if !ok || u.GetMsgType() != proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
					updates[name]++
				}
			}
		case f.Message() != nil:
			received[name]++
			updates[name]++
		}
		return true
	})
}
