package sync

import (
	"edgesync/sync/config"
	"edgesync/sync/link"
)

// MaxInbound is the largest message in bytes that is announced to the cloud. If the configuration
// leaves it open it goes by the memory of this machine, or what a control group leaves of it. Any
// goroutine.
func MaxInbound(c *config.Config) int {
	if c.Cloud.MaxInbound > 0 {
		return int(c.Cloud.MaxInbound)
	}
	memory := MemTotal()
	if n := MemBound(""); n > 0 {
		memory = min(memory, n)
	}
	return inboundFor(memory)
}

// inboundFor is the largest message in bytes for a machine with so many bytes of memory, as its
// kernel says, which keeps some for itself: what is sold with 1 GB has 0.9.
func inboundFor(memory int64) int {
	const mib = 1 << 20
	return int(min(max(memory/14/mib*mib, link.LeastInbound), link.MostInbound))
}
