package device

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestComplaintsAreBounded expects a few lines a minute for each text, however many devices and
// errors there are, with the device and its reason in each.
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
			d.complain("it sends nonsense", "pump", fmt.Errorf("byte %d", i))
		}
		d.complain("it sends nonsense", "lamp", fmt.Errorf("byte 1"))
		d.complain("it is slow", "pump", nil)
		for i := range 1000 {
			d.complain("it is slow", fmt.Sprint("lamp", i), nil)
		}
		time.Sleep(complainEvery)
		d.complain("it sends nonsense", "pump", fmt.Errorf("byte 2"))
		want := `level=WARN msg="it sends nonsense" device=pump reason="byte 0"
level=WARN msg="it sends nonsense" device=pump reason="byte 1"
level=WARN msg="it sends nonsense" device=pump reason="byte 2"
level=WARN msg="it sends nonsense" device=lamp reason="byte 1"
level=WARN msg="it is slow" device=pump
level=WARN msg="it is slow" device=lamp0
level=WARN msg="it is slow" device=lamp1
level=WARN msg="it is slow" device=lamp2
level=WARN msg="it is slow" device=lamp3
level=WARN msg="it is slow" device=lamp4
level=WARN msg="it is slow" device=lamp5
level=WARN msg="it is slow" device=lamp6
level=WARN msg="it sends nonsense" device=pump reason="byte 2" repeated=997
`
		if b.String() != want {
			t.Errorf("got:\n%swant:\n%s", b.String(), want)
		}
	})
}
