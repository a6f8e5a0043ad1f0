package calls

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// Calls that wait are bounded in bytes: each, those of a device, and all. What goes gives its bytes
// back.
func TestCallsAreBoundedInBytes(t *testing.T) {
	table := NewTable(Store{})
	expires := time.Now().Add(time.Hour)
	take := func(device, bytes int) bool {
		c := &proto.DeviceRpcCallMsg{DeviceIdLSB: int64(device), RequestMsg: &proto.RpcRequestMsg{
			Method: "m", Params: `"` + strings.Repeat("x", bytes-3) + `"`,
		}}
		c.RequestUuidMSB, c.RequestUuidLSB = proto.Halves(proto.NewUUID())
		call, refused := table.Take(c, expires)
		if call == nil && refused != Internal {
			t.Fatalf("refused with %q", refused)
		}
		return call != nil
	}
	if take(1, MaxText+1) {
		t.Error("a call of more than 256 KiB is taken")
	}
	taken := 0
	for device := range 40 {
		of := 0
		for range MaxOfDevice {
			if take(device, 100<<10) {
				of++
			}
		}
		if of > 5 {
			t.Errorf("%d calls of 100 KiB wait for one device, of which 512 KiB may", of)
		}
		taken += of
	}
	if taken != 20 || table.texts > maxBytes {
		t.Errorf("%d calls of 100 KiB wait, %d bytes", taken, table.texts)
	}
	if !take(99, 1<<10) {
		t.Error("a small call beside them is not taken")
	}
	table.Expire(expires)
	if table.texts != 0 || table.count != 0 || !take(1, MaxText) {
		t.Errorf("%d bytes of %d calls are left", table.texts, table.count)
	}
}

// An answer of the cloud that is too large for the doors does not reach them.
func TestLargeAnswersOfTheCloud(t *testing.T) {
	table := NewTable(Store{})
	table.Online()
	for _, c := range []struct {
		bytes int
		want  error
	}{{MaxText, nil}, {MaxText + 1, ErrAnswerTooLarge}} {
		var got error
		length := -1
		if err := table.Request(&Request{Method: "m", Reply: func(b []byte, err error) { got, length = err, len(b) }}); err != nil {
			t.Fatal(err)
		}
		o, _ := table.Next(time.Now())
		table.Answered(&proto.DeviceRpcCallMsg{
			RequestId: o.request, SessionId: &table.session, ResponseMsg: &proto.RpcResponseMsg{Response: strings.Repeat("x", c.bytes)},
		}, "")
		if want := map[bool]int{true: c.bytes}[c.want == nil]; !errors.Is(got, c.want) || length != want {
			t.Errorf("an answer of %d bytes: %d bytes, %v", c.bytes, length, got)
		}
	}
}

// Calls kept over a restart for which there is no room are answered with an error and dropped from
// what is kept, once that has arrived; a notice is dropped at once.
func TestRecallBeyondTheBounds(t *testing.T) {
	var dropped []int64
	table := NewTable(Store{
		Keep:  func(*proto.DeviceRpcCallMsg) error { return nil },
		Drop:  func(c *proto.DeviceRpcCallMsg) error { dropped = append(dropped, c.GetRequestUuidLSB()); return nil },
		Flush: func() error { return nil },
	})
	expires := time.Now().Add(time.Hour)
	recall := func(n int64, service string) {
		table.Recall(&proto.DeviceRpcCallMsg{
			DeviceIdLSB: 1, RequestUuidMSB: 1, RequestUuidLSB: n, ServiceId: &service,
			RequestMsg: &proto.RpcRequestMsg{Method: "m", Params: "1"},
		}, expires)
	}
	for n := range int64(MaxOfDevice + 1) {
		recall(n, "")
	}
	for n := range int64(MaxNotices + 1) {
		recall(100+n, serviceID)
	}
	if n := len(table.Pending(proto.UUIDOf(0, 1))); n != MaxOfDevice+MaxNotices {
		t.Errorf("%d calls wait", n)
	}
	table.Online()
	table.Save()
	if want := []int64{100 + MaxNotices}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
	o, ok := table.Next(time.Now())
	if _, more := table.Next(time.Now()); !ok || more {
		t.Fatal("not one answer")
	}
	var u proto.UplinkMsg
	if err := pb.Unmarshal(o.Fragment, &u); err != nil {
		t.Fatal(err)
	}
	if m := u.GetDeviceRpcCallMsg()[0]; m.GetRequestUuidLSB() != MaxOfDevice || m.GetResponseMsg().GetError() != Internal {
		t.Errorf("answer %v", m)
	}
	table.Done(o)
	table.Save()
	if want := []int64{100 + MaxNotices, MaxOfDevice}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
}
