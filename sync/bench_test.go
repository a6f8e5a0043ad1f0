package sync

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc/mem"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/wal"
)

// sink keeps what goes to gRPC, so that the compiler does not leave it out.
var sink mem.BufferSlice

// BenchmarkLogToWire takes events of three values from the files of the segments to the bytes that
// go to gRPC: reading, checking, batching, framing, acknowledging. It reports allocs/event; a batch
// costs a constant number of allocations.
func BenchmarkLogToWire(b *testing.B) {
	const events = 50_000
	dir := b.TempDir()
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	dead, err := wal.OpenDead(filepath.Join(dir, "dead"), 1<<20, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer dead.Close()
	id := proto.UUID{0x78, 0x4f, 0x39, 0x4c, 0x42, 0xb6, 0x43, 0x5a, 0x98, 0x3c, 0xb7, 0xbe, 0xff, 0x27, 0x84, 0xf9}
	var bytes int64
	group := make([]wal.Event, 0, 100)
	for i := range events {
		fragment := proto.AppendTelemetry(nil, id, proto.DeviceEntity, 1767225600000+int64(i)*1000, []proto.KV{
			{Key: []byte("temperature"), Type: proto.KeyValueType_DOUBLE_V, Double: 21.5},
			{Key: []byte("humidity"), Type: proto.KeyValueType_LONG_V, Long: int64(i % 100)},
			{Key: []byte("door"), Type: proto.KeyValueType_BOOLEAN_V, Bool: i%2 == 0},
		})
		bytes += int64(len(fragment))
		group = append(group, wal.Event{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: int64(i), Entity: id, Fragment: fragment,
		})
		if len(group) == cap(group) {
			if err := q.Append(b.Context(), group...); err != nil {
				b.Fatal(err)
			}
			group = group[:0]
		}
	}
	c := config.Defaults()
	l := newLoop(NewAgent(Deps{Config: &c, Queue: q, Dead: dead, Registry: &fakeRegistry{}, Log: slog.New(slog.DiscardHandler)}))
	sess := newFakeSession()
	l.conn.sess = sess
	start := q.Committed()
	b.SetBytes(bytes / events)
	b.ReportAllocs()
	b.ResetTimer()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	now := time.Now()
	done := 0
	for done < b.N {
		l.maybeSend(now)
		if sess.Queued() == 0 {
			l.rewind(start)
			continue
		}
		for sess.Queued() > 0 {
			sink = mem.BufferSlice{mem.SliceBuffer(<-sess.out)} // as the codec hands it to gRPC
		}
		for _, sent := range l.sending.win.batches {
			sent.state = acked
			done += sent.events
		}
		// Without Commit, so that the same events can be read again.
		for sent := l.sending.win.pop(); sent != nil; sent = l.sending.win.pop() {
			l.sending.win.put(sent)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(done), "allocs/event")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/event")
}
