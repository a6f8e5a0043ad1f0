package sync

import (
	"testing"

	"edgesync/sync/config"
)

// The announced size goes by the memory of the machine, from 8 MiB at 64 MB to 64 MiB at 1 GB,
// unless the configuration names one.
func TestMaxInbound(t *testing.T) {
	for _, c := range []struct{ memory, mib int64 }{
		{0, 8},
		{-1, 8},
		{58 << 20, 8},
		{64 << 20, 8},
		{120 << 20, 8},
		{126 << 20, 9},
		{245 << 20, 17},
		{490 << 20, 35},
		{896 << 20, 64},
		{950 << 20, 64},
		{1 << 30, 64},
		{24 << 30, 64},
		{1<<63 - 1, 64},
	} {
		if got := inboundFor(c.memory); int64(got) != c.mib<<20 {
			t.Errorf("%d bytes of memory: %d, want %d MiB", c.memory, got, c.mib)
		}
	}
	c := config.Defaults()
	if got, want := MaxInbound(&c), inboundFor(MemTotal()); got != want {
		t.Errorf("this machine: %d, want %d", got, want)
	}
	if c.Cloud.MaxInbound = 5 << 20; MaxInbound(&c) != 5<<20 {
		t.Errorf("configured: %d", MaxInbound(&c))
	}
}
