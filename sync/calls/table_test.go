package calls

import (
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// Calls and answers are bounded without a link, and the oldest answers are dropped for new ones.
func TestCallTableIsBounded(t *testing.T) {
	a := NewTable(Store{})
	now := time.Now()
	add := func(device, n int64) string {
		_, word := a.Take(&proto.DeviceRpcCallMsg{DeviceIdMSB: device, RequestUuidMSB: device, RequestUuidLSB: n}, now.Add(time.Hour))
		return word
	}
	for device := range int64(maxCalls / MaxOfDevice) {
		for n := range int64(MaxOfDevice) {
			if word := add(device, n); word != "" {
				t.Fatalf("call %d of device %d: %s", n, device, word)
			}
		}
	}
	if add(0, 99) != Internal || add(9999, 1) != Internal || a.count != maxCalls {
		t.Errorf("%d calls", a.count)
	}
	seen := map[int32]bool{}
	big := strings.Repeat("x", 16<<10)
	for device := range int64(maxCalls / MaxOfDevice) {
		id := proto.UUIDOf(device, 0)
		for _, c := range a.Pending(id) {
			if seen[c.ID] {
				t.Errorf("id %d twice", c.ID)
			}
			seen[c.ID] = true
			if !a.Answer(id, c.ID, big) || a.Answer(id, c.ID, big) {
				t.Error("answered never or twice")
			}
		}
	}
	if a.count != 0 || len(a.calls) != 0 || len(a.answers) > maxAnswers || a.bytes > 2*maxResponse || len(a.answers) < 4 {
		t.Errorf("%d calls, %d answers of %d bytes", a.count, len(a.answers), a.bytes)
	}
	n := 0
	for _, x := range a.answers {
		n += len(x.fragment)
	}
	if n != a.bytes {
		t.Errorf("%d bytes counted, %d there", a.bytes, n)
	}
	if word := add(1, 1); word != "" || a.Answer(proto.UUIDOf(1, 0), -1, "{}") {
		t.Error("a call that is over is taken again")
	}
	// An answer that is too large for the link becomes an error.
	add(2, 1000)
	c := a.Pending(proto.UUIDOf(2, 0))[0]
	a.Answer(c.Device, c.ID, strings.Repeat("x", maxResponse+1))
	last := a.answers[len(a.answers)-1]
	if !strings.Contains(string(last.fragment), Internal) {
		t.Errorf("answer of %d bytes", len(last.fragment))
	}
}

// An answer to a persistent call that is dropped for a newer one is dropped from the registry too.
func TestAnswersThatGiveWayAreNotKept(t *testing.T) {
	a := NewTable(Store{})
	big, persisted := strings.Repeat("x", maxResponse-100), true
	for n := range int64(4) {
		a.Take(&proto.DeviceRpcCallMsg{DeviceIdMSB: n, RequestUuidLSB: n + 1, Persisted: &persisted}, time.Now().Add(time.Hour))
		a.Answer(proto.UUIDOf(n, 0), a.Pending(proto.UUIDOf(n, 0))[0].ID, big)
	}
	if len(a.answers) != 2 || len(a.finished) != 2 || a.finished[0].RequestUuidLSB != 1 || a.finished[1].RequestUuidLSB != 2 {
		t.Errorf("%d answers, given up: %v", len(a.answers), a.finished)
	}
}
