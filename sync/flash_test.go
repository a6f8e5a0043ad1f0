package sync

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// flashDay is a queue with a flash budget, dead letters and a registry that the queue meters, and a
// loop that does not run, inside a bubble with a fake clock that begins at midnight.
type flashDay struct {
	*loop
	device proto.UUID
	held   time.Duration // longest time for which an attribute was not durable
	since  time.Time     // the oldest attribute that is not
	flush  int           // how often the registry wrote
}

func newFlashDay(t *testing.T, budget int64, delay time.Duration) *flashDay {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
	dir, err := os.MkdirTemp("/dev/shm", "edgesync-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &flashDay{device: proto.UUID{1}}
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue"), MaxBytes: 8 << 20, FlashBudget: budget, MaxDelay: delay})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	dead, err := wal.OpenDead(filepath.Join(dir, "dead"), 1<<20, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dead.Close() })
	dead.Meter(q.Meter)
	reg, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), Keep: []string{"ota"}, MaxBytes: 32 << 20,
		Meter: func(at, n int64, fsyncs int) {
			d.flush++
			if !d.since.IsZero() {
				d.held, d.since = max(d.held, time.Since(d.since)), time.Time{}
			}
			q.Meter(at, n, fsyncs)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	c := config.Defaults()
	d.loop = newLoop(NewAgent(Deps{Config: &c, Queue: q, Dead: dead, Registry: reg, Log: slog.New(slog.DiscardHandler)}))
	m := &proto.DeviceUpdateMsg{Entity: `{"name":"d","type":"default"}`}
	m.IdMSB, m.IdLSB = proto.Halves(d.device)
	if _, err := reg.Apply(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m}}); err != nil {
		t.Fatal(err)
	}
	if err := reg.Flush(); err != nil {
		t.Fatal(err)
	}
	d.flush = 0
	return d
}

// pass lets a time go by in which the device posts an attribute each ten seconds.
func (d *flashDay) pass(t *testing.T, long time.Duration) {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(10 * time.Second) {
		kv := []*proto.KeyValueProto{{Key: "a", Type: proto.KeyValueType_LONG_V, LongV: time.Now().UnixMilli()}}
		err := d.queue.Submit(context.Background(), []wal.Event{{Fragment: make([]byte, 60)}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if err == nil {
			err = d.reg.Posted(d.device, "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: kv})
		}
		if err != nil {
			t.Fatal(err)
		}
		if d.since.IsZero() {
			d.since = time.Now()
		}
		d.maybeFlush(time.Now())
	}
	synctest.Wait()
}

// A device posts attributes for a day, creations are refused, and a firmware comes down. What the
// medium writes for all of it stays within the budget: attributes wait, devices wait for their
// answers, and what cannot wait is paid for by what can.
func TestFlashBudgetHoldsForADayOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget, firmware = 40 << 20, 10 << 20
		d := newFlashDay(t, budget, time.Minute)
		for hour := range 23 {
			if hour == 6 {
				m := &proto.OtaPackageUpdateMsg{Entity: fmt.Sprintf(`{"title":"fw","data":%q,"dataSize":%d}`,
					base64.StdEncoding.EncodeToString(make([]byte, firmware)), firmware)}
				m.IdMSB, m.IdLSB = proto.Halves(proto.UUID{2})
				before := d.queue.Stats().Today.Wear
				if used, err := d.reg.Apply(&proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{m}}); !used || err != nil {
					t.Fatal(used, err)
				}
				if err := d.reg.Flush(); err != nil {
					t.Fatal(err)
				}
				if got := d.queue.Stats().Today.Wear - before; got < firmware {
					t.Errorf("a firmware of %d bytes cost %d", firmware, got)
				}
			}
			for n := range 5 {
				if err := d.deadLog.Put(wal.DeadLetter{Offset: uint64(hour*5 + n + 1), Reason: "refused"}); err != nil {
					t.Fatal(err)
				}
			}
			d.pass(t, time.Hour)
		}
		d.pass(t, 59*time.Minute)
		s := d.queue.Stats()
		t.Logf("%d bytes of %d, %d commits, %d writes of the registry, an attribute waited %v at most",
			s.Today.Wear, budget, s.Commits, d.flush, d.held)
		if s.Today.Wear > budget || s.Today.Wear < budget*8/10 {
			t.Errorf("a day cost %d bytes, its budget is %d", s.Today.Wear, budget)
		}
		if d.flush < 24 || d.held > flushLatest+2*flushEvery {
			t.Errorf("the registry wrote %d times, and an attribute waited %v", d.flush, d.held)
		}
	})
}

// Without a budget, or while there are tokens, attributes are written each minute.
func TestAttributesAreWrittenEachMinute(t *testing.T) {
	for _, budget := range []int64{0, 1 << 40} {
		synctest.Test(t, func(t *testing.T) {
			d := newFlashDay(t, budget, time.Second)
			d.pass(t, time.Hour)
			if d.flush != 60 || d.held > flushEvery {
				t.Errorf("the registry wrote %d times in an hour, and an attribute waited %v", d.flush, d.held)
			}
		})
	}
}
