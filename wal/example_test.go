package wal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"edgesync/wal"
)

// A queue takes events, and keeps them over Close and a power cut.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "queue-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue"), MaxBytes: 64 << 20})
	if err != nil {
		panic(err)
	}
	// Append returns when the events are durable.
	if err := q.Append(context.Background(), wal.Event{Fragment: []byte("21.5")}, wal.Event{Fragment: []byte("21.6")}); err != nil {
		panic(err)
	}
	if err := q.Close(); err != nil {
		panic(err)
	}

	stats, err := wal.Inspect(filepath.Join(dir, "queue"))
	if err != nil {
		panic(err)
	}
	fmt.Println(stats.Accepted, "accepted,", stats.Pending, "pending")
	// Output: 2 accepted, 2 pending
}

// The one consumer of a queue reads events in order, delivers them, and commits the position behind
// the last one that was acknowledged.
func ExampleReader() {
	dir, err := os.MkdirTemp("", "queue-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		panic(err)
	}
	defer q.Close()
	for _, value := range []string{"21.5", "21.6", "21.7"} {
		if err := q.Append(context.Background(), wal.Event{Fragment: []byte(value)}); err != nil {
			panic(err)
		}
	}

	r := q.Reader()
	defer r.Close()
	batch := 0
	err = r.Read(func(e *wal.Entry) bool {
		if batch == 2 {
			return false // not consumed: the next Read begins with it
		}
		batch++
		fmt.Printf("event %d: %s\n", e.Seq, e.Fragment)
		return true
	})
	if err != nil {
		panic(err)
	}
	if err := q.Commit(r.Position(), uint64(batch), 0); err != nil {
		panic(err)
	}
	fmt.Println(q.Stats().Pending, "pending")
	// Output:
	// event 1: 21.5
	// event 2: 21.6
	// 1 pending
}
