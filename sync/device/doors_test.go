package device

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestComplaintsAreBounded expects one line a minute for each text, however many devices and errors
// there are.
func TestComplaintsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))
		d := NewDoors(Ports{Log: log})
		for i := range 1000 {
			d.complain("it sends nonsense", fmt.Sprint("pump", i), fmt.Errorf("byte %d", i))
		}
		d.complain("it is slow", "pump7", nil)
		time.Sleep(complainEvery)
		d.complain("it sends nonsense", "pump8", fmt.Errorf("byte 8"))
		want := `level=WARN msg="it sends nonsense" device=pump0 error="byte 0"
level=WARN msg="it is slow" device=pump7 error=<nil>
level=WARN msg="it sends nonsense" device=pump8 error="byte 8" repeated=999
`
		if b.String() != want {
			t.Errorf("got:\n%swant:\n%s", b.String(), want)
		}
	})
}
