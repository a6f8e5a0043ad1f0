package cli

import (
	"path/filepath"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	agent "edgesync/sync"
)

// The figures say what is known, in one event, and leave out what is not.
func TestFigures(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	contact := at.Add(-90 * time.Minute)
	full, behind := int64(5_400_000), int64(-2500)
	id := proto.UUID{15: 7}
	bare := map[string]any{
		"edgesyncBacklog": int64(0), "edgesyncOldestSeconds": int64(0), "edgesyncOfflineMinutes": int64(3),
		"edgesyncDropped": int64(0),
		"edgesyncDead":    int64(0), "edgesyncMemory": int64(0),
	}
	for name, c := range map[string]struct {
		s    agent.Snapshot
		want map[string]any
	}{
		"nothing is known": {agent.Snapshot{At: at, State: agent.Disconnected, UptimeMS: 200_000}, bare},
		"all is known": {agent.Snapshot{
			At: at, State: agent.Reconnecting, LastContact: &contact, UptimeMS: 1e9, Pending: 5, OldestPendingMS: 61_500,
			Dropped: 2, Dead: 3, RSSBytes: 14 << 20, Room: agent.Capacity{Limit: 100, Percent: 12.5, FullInMS: &full},
			RTTMS: 1.5, FlashYears: 20, ClockOffsetMS: &behind,
		}, map[string]any{
			"edgesyncBacklog": int64(5), "edgesyncOldestSeconds": int64(61), "edgesyncOfflineMinutes": int64(90),
			"edgesyncDropped": int64(2),
			"edgesyncDead":    int64(3), "edgesyncMemory": int64(14 << 20), "edgesyncRoomPercent": 12.5, "edgesyncHoursLeft": 1.5,
			"edgesyncLatency": 1.5, "edgesyncFlashYears": 20.0, "edgesyncClockOffset": -2.5,
		}},
	} {
		e := figures(&c.s, id, 1_700_000_000_001)
		var u proto.UplinkMsg
		if err := pb.Unmarshal(e.Fragment, &u); err != nil {
			t.Fatal(err)
		}
		d := u.EntityData[0]
		list := d.GetPostTelemetryMsg().TsKvList
		if d.EntityType != "EDGE" || d.EntityIdLSB != 7 || len(u.EntityData) != 1 || len(list) != 1 || list[0].Ts != 1_700_000_000_001 {
			t.Errorf("%s: %v", name, &u)
		}
		got := map[string]any{}
		for _, kv := range list[0].Kv {
			if got[kv.Key] = any(kv.LongV); kv.Type == proto.KeyValueType_DOUBLE_V {
				got[kv.Key] = kv.DoubleV
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s: %s = %v, want %v", name, key, got[key], want)
			}
		}
	}
}

// The figures reach the cloud as telemetry of the edge, the version as its attribute, once.
func TestFiguresReachTheCloud(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.extra = "[report]\ninterval = \"1s\"\n"
	r := s.synced()
	tenant := s.cloud.Tenant()
	s.eventually("three reports", func() bool { return len(tenant.Series(s.edge.ID, "edgesyncBacklog")) >= 3 })
	if v, _, ok := tenant.Attribute(s.edge.ID, "SERVER_SCOPE", "edgesyncVersion"); !ok || v.Str != r.snapshot().Version {
		t.Errorf("the version in the cloud is %+v", v)
	}
	if n := r.snapshot(); n.Dropped+n.Dead+n.Damaged != 0 {
		t.Errorf("%+v", n)
	}
}
