package cli

import (
	"runtime/debug"
	"sync"
)

const (
	// memoryLimit is where the garbage collector begins to work harder; a soft limit, in bytes.
	// Beside it the pages of the program's own file are in memory, some 10 MB.
	memoryLimit = 18 << 20
	// deviceMemory is by how much a device raises the limit: a limit below what is in use would
	// have the collector run without a pause, and the agent stand still.
	deviceMemory = 350
	// holdingFree is how much of a message that comes has room below the limit; what is more raises
	// it: packages may be larger than all else.
	holdingFree = 8 << 20
	// gcPercent keeps the heap small: on a gateway a little memory is worth more than a little
	// work.
	gcPercent = 50
	// syncGCPercent is gcPercent while a sync runs, in which thousands of devices come in a second.
	syncGCPercent = 20
)

// limitMemory suits the garbage collector to small machines, unless the environment says otherwise.
func limitMemory(env environment) {
	if !env.has("GOGC") {
		debug.SetGCPercent(gcPercent)
	}
	if !env.has("GOMEMLIMIT") {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// syncMemory keeps the heap smaller still while a sync runs.
func syncMemory(running bool) {
	percent := gcPercent
	if running {
		percent = syncGCPercent
	}
	debug.SetGCPercent(percent)
}

// softLimit is the limit of memory, which goes by what must be in memory at a time. Any goroutine.
type softLimit struct {
	mu      sync.Mutex
	devices int
	holding int64 // bytes that wait of what the cloud sends
}

// setDevices fits the limit to the number of devices.
func (l *softLimit) setDevices(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.devices = n
	debug.SetMemoryLimit(l.bytes())
}

// setHolding fits the limit to a large message that is coming.
func (l *softLimit) setHolding(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = bytes
	debug.SetMemoryLimit(l.bytes())
}

func (l *softLimit) bytes() int64 {
	return memoryLimit + deviceMemory*int64(l.devices) + max(0, l.holding-holdingFree)
}
