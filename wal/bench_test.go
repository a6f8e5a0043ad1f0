package wal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend measures durable appends against raw write and fdatasync of groups of the same
// size, in the same run. "ratio" is ours to raw.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			b.ReportAllocs()
			q := openQueue(b, Options{Dir: queueDir(b)})
			e := Event{Fragment: make([]byte, 100)}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			start := time.Now()
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := q.Append(context.Background(), e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			ours := time.Since(start)
			b.StopTimer()
			commits := int(q.Stats().Commits)
			bytes := q.Stats().Bytes
			closeQueue(b, q)

			f, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			group := make([]byte, bytes/int64(commits))
			start = time.Now()
			for range commits {
				if _, err := f.Write(group); err != nil {
					b.Fatal(err)
				}
				if err := syscall.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
			}
			raw := time.Since(start)
			b.ReportMetric(float64(b.N)/ours.Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(commits), "events/commit")
			b.ReportMetric(raw.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// fill appends n events of 100 bytes in groups of 1000.
func fill(b *testing.B, q *Queue, n int) {
	b.Helper()
	group := make([]Event, 1000)
	for i := range group {
		group[i].Fragment = make([]byte, 100)
	}
	for ; n > 0; n -= len(group) {
		if err := q.Append(context.Background(), group[:min(n, len(group))]...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	q := openQueue(b, Options{Dir: queueDir(b)})
	fill(b, q, 200_000)
	r := q.Reader()
	defer r.Close()
	start := r.Position()
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		r.Seek(start)
		if err := r.Read(func(*Entry) bool { n++; return n < b.N }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteAmplification reports the bytes written for each byte of events, ingest and drain
// together, in groups of 100 events of 100 bytes.
func BenchmarkWriteAmplification(b *testing.B) {
	q := openQueue(b, Options{Dir: queueDir(b)})
	group := make([]Event, 100)
	for i := range group {
		group[i].Fragment = make([]byte, 100)
	}
	r := q.Reader()
	defer r.Close()
	for range b.N {
		if err := q.Append(context.Background(), group...); err != nil {
			b.Fatal(err)
		}
		count := uint64(0)
		if err := r.Read(func(*Entry) bool { count++; return true }); err != nil || count != 100 {
			b.Fatal(count, err)
		}
		if err := q.Commit(r.Position(), count, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(q.Stats().Today.Written)/float64(b.N*100*100), "bytes/byte")
	b.ReportMetric(float64(q.Stats().Segments), "segments")
}

func BenchmarkOpenWithMillionPending(b *testing.B) {
	o := Options{Dir: queueDir(b)}
	q := openQueue(b, o)
	fill(b, q, 1_000_000)
	closeQueue(b, q)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		q, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeQueue(b, q)
		b.StartTimer()
	}
}
