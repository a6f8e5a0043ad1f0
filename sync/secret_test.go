package sync

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
)

// A secret that was renewed and then taken back, as by a server that was restored from a backup:
// after a refusal the configured and the renewed one are tried in turn, and the one that is
// accepted is kept.
func TestRenewedSecretTakenBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		accepted string // at the end
		want     []string
	}{
		{"the configured one is right again", "top-secret", []string{"top-secret", "newer", "top-secret", "top-secret"}},
		{"the renewed one is right after all", "newer", []string{"top-secret", "newer", "top-secret", "newer", "newer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var end, renewed atomic.Bool
			refusals := 0
			s := &script{end: func(_ int, _ *proto.RequestMsg) (bool, error) { return end.CompareAndSwap(true, false), nil }}
			s.connect = func(n int, m *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
				if renewed.Load() && (m.GetEdgeSecret() != c.accepted || c.accepted == "newer" && refusals < 2) {
					refusals++
					return &proto.ConnectResponseMsg{
						ResponseCode: proto.ConnectResponseCode_BAD_CREDENTIALS,
						ErrorMsg:     "Failed to validate the edge! Provided request secret: " + m.GetEdgeSecret(),
					}
				}
				a := accepted()
				if c.accepted == "newer" && renewed.Load() {
					a.Configuration.Secret = "newer"
				}
				return a
			}
			inBubble(t, s, nil, func(r *rig) {
				r.elapse(time.Second)
				renewal := &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Secret: "newer"}
				s.streams[1](&proto.ResponseMsg{EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: renewal}})
				r.elapse(time.Second)
				renewed.Store(true)
				end.Store(true)
				r.elapse(33 * time.Second) // the stream ends with the probe, and the renewed one is refused
				if e := r.agent.Snapshot().LastError; strings.Contains(e, "newer") || strings.Contains(e, "top-secret") {
					r.Errorf("last error %q", e)
				}
				r.elapse(time.Minute)
				r.state(Connected)
				end.Store(true)
				r.elapse(time.Minute)
				if !slices.Equal(s.secrets, c.want) {
					r.Errorf("secrets %v, want %v", s.secrets, c.want)
				}
			})
		})
	}
}
