//go:build !race

package ruling

import "testing"

// TestFilterAllocates: a message through a type switch, a script filter and a push node makes its
// text, itself with its metadata, and what it was when it entered. Not under the race detector,
// with which pools forget things on purpose.
func TestFilterAllocates(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.filterChain()
	for text, came := range map[string]int{`{"t":31,"humidity":41.2,"door":true}`: 1, `{"t":30,"humidity":41.2,"door":true}`: 0} {
		list := events(t, 1, text)
		if n := testing.AllocsPerRun(1000, func() {
			out, finish, err := g.Take(list)
			if err != nil || finish == nil || len(out) != came {
				t.Fatalf("%d events, %v", len(out), err)
			}
			if err := finish(nil, nil); err != nil {
				t.Fatal(err)
			}
		}); n > 3 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
