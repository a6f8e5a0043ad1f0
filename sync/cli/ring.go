package cli

import (
	"bytes"
	"sync"
)

// Bounds of what the agent keeps of its log.
const (
	ringBytes = 32 << 10
	ringLines = 200
)

// ring keeps the last lines that were written to it, at most ringLines in ringBytes. A slog.Handler
// hands it a line at a time. Any goroutine.
type ring struct {
	mu    sync.Mutex
	text  []byte // whole lines
	lines int
}

// Write takes a line. Of one that alone is too long the end is left out.
func (r *ring) Write(line []byte) (int, error) {
	n := len(line)
	if n > ringBytes {
		line = append(line[:ringBytes-1:ringBytes-1], '\n')
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text == nil {
		r.text = make([]byte, 0, ringBytes)
	}
	gone := 0
	for r.lines > 0 && (r.lines == ringLines || len(r.text)-gone+len(line) > ringBytes) {
		gone += bytes.IndexByte(r.text[gone:], '\n') + 1
		r.lines--
	}
	r.text = append(r.text[:copy(r.text, r.text[gone:])], line...)
	r.lines++
	return n, nil
}

// String is what is kept, the oldest line first.
func (r *ring) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text)
}
