package device

import (
	"context"
	"net/http/httptest"
	"testing"

	"edgesync/sync/share"
)

// Bodies of which the queue makes copies of megabytes are stored one after the other, and not
// beside others that take much memory. Smaller ones do not wait.
func TestLargestBodiesTakeTheLane(t *testing.T) {
	h := &HTTP{Doors: &Doors{Ports: Ports{Lane: share.NewLane()}}, working: make(chan struct{}, 1)}
	r := httptest.NewRequest("POST", "/", nil)
	if !h.Lane.Enter(nil) {
		t.Fatal("the lane is not free")
	}
	if done := h.work(r, laneBody); done == nil {
		t.Error("a smaller body waits")
	} else {
		done()
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if h.work(r.WithContext(gone), laneBody+1) != nil || len(h.working) != 0 {
		t.Errorf("beside others; %d slots are held", len(h.working))
	}
	h.Lane.Leave()
	done := h.work(r, laneBody+1)
	if done == nil || len(h.Lane) != 1 || len(h.working) != 1 {
		t.Fatal("it does not hold the lane")
	}
	done()
	if len(h.Lane) != 0 || len(h.working) != 0 {
		t.Error("the lane is not free afterwards")
	}
}
