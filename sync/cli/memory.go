package cli

import (
	"os"
	"runtime/debug"
	"strings"
	"sync"

	agent "edgesync/sync"
	"edgesync/wal/disk"
)

const (
	// memoryLimit is where the garbage collector begins to work harder; a soft limit, in bytes.
	// Beside it the pages of the program's own file are in memory, some 10 MB.
	memoryLimit = 18 << 20
	// leastMemory is the limit where a quarter of the machine's memory is less: below it the
	// collector would run without end.
	leastMemory = 16 << 20
	// boundShare is what the pages of the program's file need to stay in memory where a control
	// group counts them, and leastBound the limit where that leaves less.
	boundShare = 8 << 20
	leastBound = 12 << 20
	// deviceMemory is by how much a device raises the limit: a limit below what is in use would
	// have the collector run without a pause, and the agent stand still.
	deviceMemory = 350
	// holdingFree is how much of a message that comes has room below the limit; what is more raises
	// it: packages may be larger than all else.
	holdingFree = 8 << 20
	// gcPercent keeps the heap small: on a gateway a little memory is worth more than a little
	// work.
	gcPercent = 50
	// tightGCPercent is gcPercent while a sync runs, in which thousands of devices come at a time,
	// and while much waits in windows of rule chains: half as much again would be garbage.
	tightGCPercent = 20
)

// limitMemory suits the garbage collector to small machines, unless the environment says otherwise.
func limitMemory(env environment) {
	if !env.has("GOGC") {
		debug.SetGCPercent(gcPercent)
	}
	if !env.has("GOMEMLIMIT") {
		debug.SetMemoryLimit(limitOf(agent.MemTotal(), agent.MemBound("")))
	}
	yieldMemory("/proc/self/oom_score_adj")
}

// limitOf is memoryLimit on a machine with so many bytes of memory, or 0 for unknown: on the
// smallest routers a quarter of it, for hostapd, dnsmasq and uhttpd are there too. bound is what a
// control group allows this process, the pages of its files among it; 0: none.
func limitOf(total, bound int64) int64 {
	limit := int64(memoryLimit)
	if total > 0 {
		limit = min(limit, max(leastMemory, total/4))
	}
	if bound > 0 {
		limit = min(limit, max(leastBound, bound-boundShare))
	}
	return limit
}

// yieldScore is by how much (of 1000, all memory) the kernel shall think the agent larger than it
// is when there is no memory left at all.
const yieldScore = "200"

// yieldMemory has the kernel end the agent before the programs that make a router, when one must
// go: the agent is started again and has lost nothing. A score that somebody has set stays.
func yieldMemory(path string) {
	if b, err := disk.Read(path, 16); err == nil && strings.TrimSpace(string(b)) == "0" {
		_ = os.WriteFile(path, []byte(yieldScore), 0o600) // without the right to it things stay as they are
	}
}

// tight are the reasons to keep the heap smaller still.
var tight struct {
	mu            sync.Mutex // guards what follows, and the percentage
	sync, windows bool
}

func syncMemory(running bool) { tighten(&tight.sync, running) }

func windowMemory(much bool) { tighten(&tight.windows, much) }

func tighten(reason *bool, is bool) {
	tight.mu.Lock()
	defer tight.mu.Unlock()
	*reason = is
	percent := gcPercent
	if tight.sync || tight.windows {
		percent = tightGCPercent
	}
	debug.SetGCPercent(percent)
}

// softLimit is the limit of memory, which goes by what must be in memory at a time. Any goroutine.
type softLimit struct {
	base int64 // of this machine

	mu      sync.Mutex // guards what follows
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
	return l.base + deviceMemory*int64(l.devices) + max(0, l.holding-holdingFree)
}
