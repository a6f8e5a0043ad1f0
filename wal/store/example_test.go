package store_test

import (
	"fmt"
	"os"
	"path/filepath"

	"edgesync/wal/store"
)

// A store applies a batch as a whole, durably, and reads values back by their keys.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	s, err := store.Open(store.Options{Path: filepath.Join(dir, "devices"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		panic(err)
	}
	defer s.Close()

	var b store.Batch
	b.Put("device/1", []byte("thermometer"))
	b.Put("device/2", []byte("hygrometer"))
	b.Delete("device/3")
	if err := s.Apply(&b); err != nil {
		panic(err)
	}

	value, ok, err := s.Get("device/1", nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Keys("device/"), string(value), ok)
	// Output: [device/1 device/2] thermometer true
}
