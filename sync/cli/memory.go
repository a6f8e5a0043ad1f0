package cli

import "runtime/debug"

const (
	// memoryLimit is where the garbage collector begins to work harder; a soft limit, in bytes.
	// Beside it the pages of the program's own file are in memory, some 10 MB.
	memoryLimit = 18 << 20
	// deviceMemory is by how much a device raises the limit: a limit below what is in use would
	// have the collector run without a pause, and the agent stand still.
	deviceMemory = 350
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

// devicesMemory fits the limit to the number of devices.
func devicesMemory(n int) { debug.SetMemoryLimit(memoryLimit + deviceMemory*int64(n)) }
