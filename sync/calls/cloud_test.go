package calls

import (
	"errors"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// A device's own call that is larger than the cloud takes ends at once, not after its timeout.
func TestRequestTooLarge(t *testing.T) {
	table := NewTable(Store{})
	table.Online()
	var got []error
	reply := func(_ []byte, err error) { got = append(got, err) }
	if err := table.Request(&Request{Device: proto.UUID{1}, Method: "m", Params: `"x"`, Reply: reply}); err != nil {
		t.Fatal(err)
	}
	o, ok := table.Next(time.Now())
	if !ok {
		t.Fatal("nothing is to be sent")
	}
	table.TooLarge(o)
	table.Expire(time.Now().Add(time.Hour))
	if len(got) != 1 || !errors.Is(got[0], ErrTooLarge) {
		t.Errorf("the device hears %v", got)
	}
}

// The caller of a device gets an error when the answer is larger than the cloud takes, and the
// registry keeps the error instead of the answer.
func TestAnswerTooLarge(t *testing.T) {
	var kept []string
	dropped := 0
	table := NewTable(Store{
		Keep:  func(c *proto.DeviceRpcCallMsg) error { kept = append(kept, c.ResponseMsg.GetError()); return nil },
		Drop:  func(*proto.DeviceRpcCallMsg) error { dropped++; return nil },
		Flush: func() error { return nil },
	})
	persisted := true
	for n, c := range []*proto.DeviceRpcCallMsg{
		{DeviceIdMSB: 1, RequestUuidMSB: 1},
		{DeviceIdMSB: 1, RequestUuidMSB: 2, Persisted: &persisted},
	} {
		call, _ := table.Take(c, time.Now().Add(time.Minute))
		table.Answer(call.Device, call.ID, `"much"`)
		table.Save()
		o, ok := table.Next(time.Now())
		if !ok || !strings.Contains(string(o.Fragment), "much") {
			t.Fatalf("%d: no answer", n)
		}
		table.TooLarge(o)
		table.Save()
		o, ok = table.Next(time.Now())
		if !ok || !strings.Contains(string(o.Fragment), Internal) || strings.Contains(string(o.Fragment), "much") {
			t.Errorf("%d: answered with %q", n, o.Fragment)
		}
		table.TooLarge(o) // a cloud that takes nothing at all
		if _, ok := table.Next(time.Now()); ok {
			t.Errorf("%d: answered once more", n)
		}
	}
	table.Save()
	if strings.Join(kept, ",") != ","+Internal || dropped != 1 {
		t.Errorf("kept with the words %q, %d dropped", kept, dropped)
	}
}
