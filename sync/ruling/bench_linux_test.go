package ruling

import (
	"runtime"
	"sync/atomic"
	"testing"

	"edgesync/sync/rules/spent"
)

// writers bring messages at the same time, each of a device of its own.
const writers = 16

// BenchmarkTake is a message before the queue: without rules, through the default chain, and
// through one with a filter. It reports the CPU time of the whole process for each, because other
// processes may have the machine meanwhile.
func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name  string
		chain func(*rig)
	}{
		{"off", func(g *rig) { g.Off = true }},
		{"default", func(g *rig) {
			g.chain(chainID, true, []string{switchNode, saveNode, pushNode}, "0>1:Post telemetry", "1>2:Success")
		}},
		{"filter", (*rig).filterChain},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := newRig(b)
			defer g.close(false)
			g.devices(3, writers)
			c.chain(g)
			var writer atomic.Int64
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.ResetTimer()
			report := spent.From(b)
			b.RunParallel(func(p *testing.PB) {
				list := events(b, int(writer.Add(1)), `{"t":31,"humidity":41.2,"door":true}`)
				for p.Next() {
					_, finish, err := g.Take(list)
					if err == nil && finish != nil {
						err = finish(nil, nil)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			report()
		})
	}
}
