package ruling

import (
	"testing"
)

// BenchmarkTake is a message before the queue: through the default chain, and through one of a
// type switch, a script filter and a push.
func BenchmarkTake(b *testing.B) {
	for name, c := range map[string]struct {
		nodes, links []string
	}{
		"default": {[]string{switchNode, saveNode, pushNode}, []string{"0>1:Post telemetry", "1>2:Success"}},
		"filter":  {[]string{switchNode, hotNode, pushNode}, []string{"0>1:Post telemetry", "1>2:True"}},
	} {
		b.Run(name, func(b *testing.B) {
			g := newRig(b)
			defer g.close(false)
			g.chain(chainID, true, c.nodes, c.links...)
			list := events(b, 1, `{"t":31,"humidity":41.2,"door":true}`)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					_, finish, err := g.Take(list)
					if err == nil && finish != nil {
						err = finish(nil)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
