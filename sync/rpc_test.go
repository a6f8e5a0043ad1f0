package sync

import (
	"errors"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// A device whose call is larger than the cloud takes gets the error at once, not after the timeout.
func TestRequestLargerThanTheCloudTakes(t *testing.T) {
	s := &script{connect: func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		r, limit := accepted(), int32(1000)
		r.MaxInboundMessageSize = &limit
		return r
	}}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(10 * time.Second)
		var got error
		var took time.Duration
		began := time.Now()
		request := &Request{
			Device: proto.UUID{7}, Method: "m", Params: `"` + strings.Repeat("x", 2000) + `"`,
			Reply: func(_ []byte, err error) { got, took = err, time.Since(began) },
		}
		if err := r.agent.Request(request); err != nil {
			t.Fatal(err)
		}
		r.elapse(2 * time.Minute)
		if !errors.Is(got, ErrTooLarge) || took != 0 {
			t.Errorf("after %v: %v", took, got)
		}
		for _, u := range s.uplinks {
			if len(u.DeviceRpcCallMsg) != 0 {
				t.Errorf("sent: %v", u)
			}
		}
	})
}
