package link

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
)

const (
	// pooledBytes is how many bytes the transport may hold in buffers that are kept for the next
	// message. Beyond it each buffer is as long as its frame, and garbage once it was read: buffers
	// of a pool have a few sizes only, and outlive two collections.
	pooledBytes = 1 << 20
	// comingBytes is from how many bytes on what is held is a large message that is coming. It is
	// more than the window, which the transport holds of messages that nobody reads.
	comingBytes = 2 * window
	// holdingStep is by how many bytes what is held changes before it is reported.
	holdingStep = 4 << 20
)

// buffers are those of one connection's transport: frames that came and were not read, and the
// message that they become. Any goroutine.
type buffers struct {
	holding func(bytes int64) // Dialer.Holding; nil: nobody hears of it
	began   time.Time
	held    atomic.Int64 // bytes
	last    atomic.Int64 // when a large message last grew, in nanoseconds since began; 0: never
	told    atomic.Int64 // steps that were reported; mu is held while it changes

	mu   sync.Mutex
	gone bool
}

func newBuffers(holding func(bytes int64)) *buffers {
	return &buffers{holding: holding, began: time.Now().Add(-1)} // so that nothing comes at 0
}

// Get returns a buffer of a length, for a frame of the server that is longer than a KiB.
func (b *buffers) Get(length int) *[]byte {
	held := b.held.Load()
	if held > comingBytes {
		b.last.Store(int64(time.Since(b.began)))
	}
	var buf *[]byte
	if held > pooledBytes {
		exact := make([]byte, length)
		buf = &exact
	} else {
		buf = mem.DefaultBufferPool().Get(length)
	}
	b.add(int64(cap(*buf)))
	return buf
}

// Put takes a buffer back.
func (b *buffers) Put(buf *[]byte) {
	pooled := b.held.Load() <= pooledBytes
	b.add(-int64(cap(*buf)))
	if pooled {
		mem.DefaultBufferPool().Put(buf)
	}
}

func (b *buffers) add(bytes int64) {
	if steps := stepsOf(b.held.Add(bytes)); b.holding != nil && steps != b.told.Load() {
		b.report()
	}
}

func stepsOf(held int64) int64 { return (held + holdingStep - 1) / holdingStep }

// report tells what is held now, whoever else changes it.
func (b *buffers) report() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if steps := stepsOf(b.held.Load()); steps != b.told.Load() && !b.gone {
		b.told.Store(steps)
		b.holding(steps * holdingStep)
	}
}

// heard is when the last bytes of a large message came; zero: never.
func (b *buffers) heard() time.Time {
	if last := b.last.Load(); last > 0 {
		return b.began.Add(time.Duration(last))
	}
	return time.Time{}
}

// forget says that nothing is held any more: the connection is gone, and with it what nobody read.
func (b *buffers) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone = true; b.holding != nil && b.told.Load() > 0 {
		b.holding(0)
	}
}
