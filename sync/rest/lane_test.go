package rest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"edgesync/sync/share"
)

// An answer is not made while somebody else does what takes much memory, and the lane is free again
// when it is made.
func TestAnswersAreMadeInTheLane(t *testing.T) {
	r := newRig(t)
	r.lane = share.NewLane()
	r.build(slog.New(slog.DiscardHandler))
	get := func(ctx context.Context) int {
		q := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/tenant/devices?pageSize=10&page=0", nil)
		q.Header.Set("X-Authorization", "Bearer "+r.token("admin@x"))
		return r.do(q).status
	}
	if code := get(t.Context()); code != http.StatusOK {
		t.Fatal(code)
	}
	if !r.lane.Enter(nil) {
		t.Fatal("the lane is not free")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if code := get(gone); code != http.StatusServiceUnavailable {
		t.Errorf("beside something else: %d", code)
	}
	r.lane.Leave()
	if code := get(t.Context()); code != http.StatusOK {
		t.Errorf("afterwards: %d", code)
	}
}
