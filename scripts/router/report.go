//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgesync/sync/cloudtest"
)

// lost says which events are missing, and what the agents think.
func lost(m *machine, cloud *cloudtest.Cloud, devices []*device) (text string) {
	for _, d := range devices {
		there := map[int]bool{}
		for _, p := range cloud.Tenant().Series(d.id, "n") {
			there[int(p.TS-firstTime)] = true
		}
		var missing []int
		for n := range d.acked {
			if !there[n] {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 {
			slices.Sort(missing)
			text += fmt.Sprintf("\n%s: %d are missing: %v", d.token, len(missing), missing[:min(len(missing), 100)])
			for _, n := range missing[:min(len(missing), 100)] {
				text += fmt.Sprintf("\n  %d was acknowledged in life %d, at %v", n, d.lives[n].number, d.lives[n].at.Format("15:04:05.000"))
			}
		}
	}
	client := &http.Client{Timeout: 10 * time.Second}
	for i, name := range flashes {
		res, err := client.Get("http://127.0.0.1:" + strconv.Itoa(m.ports[i]) + "/metrics")
		if err != nil {
			text += fmt.Sprintf("\n%s: %v", name, err)
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		text += "\n" + name + ":"
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "edgesync_events_") {
				text += " " + strings.TrimPrefix(strings.TrimSpace(line), "edgesync_events_")
			}
		}
	}
	return text
}

// rates are commits a second, by what the agents' status says while devices send.
type rates struct {
	ports  []int
	last   []sample
	best   []float64
	client *http.Client
}

type sample struct {
	at      time.Time
	commits uint64
}

func newRates(ports []int) *rates {
	return &rates{
		ports: ports, last: make([]sample, len(ports)), best: make([]float64, len(ports)),
		client: &http.Client{Timeout: 10 * time.Second},
	}
}

// begin counts from zero, as agents do that have just begun.
func (r *rates) begin() {
	for i := range r.last {
		r.last[i] = sample{time.Now(), 0}
	}
}

// look takes the best rate over at least half a second: a quick flash has stored in a second or two
// what the devices may send in a life.
func (r *rates) look(ctx context.Context) {
	for i, port := range r.ports {
		if time.Since(r.last[i].at) < time.Second/2 {
			continue
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+"/api/edge/status", nil)
		if err != nil {
			continue
		}
		res, err := r.client.Do(q)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		var s struct{ Commits uint64 }
		if err != nil || json.NewDecoder(bytes.NewReader(b)).Decode(&s) != nil {
			continue
		}
		now := time.Now()
		if s.Commits > r.last[i].commits {
			r.best[i] = max(r.best[i], float64(s.Commits-r.last[i].commits)/now.Sub(r.last[i].at).Seconds())
		}
		r.last[i] = sample{now, s.Commits}
	}
}

// mediumFree is what an agent's status says is free on its flash; 0 without an answer.
func mediumFree(ctx context.Context, port int) int64 {
	var s struct {
		Free int64 `json:"medium_free_bytes"`
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+"/api/edge/status", nil)
	if err != nil {
		return 0
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(q)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&s) != nil {
		return 0
	}
	return s.Free
}

func report(m *machine, r *rates, acked int64, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("\n%d events accepted, all of them in the cloud; %d lives of the machine, %.0f s in all\n",
		acked, m.life.Load(), took.Seconds())
	slices.Sort(m.starts)
	slices.Sort(m.booted)
	fmt.Printf("an agent answers %.1f s after its start (median), %.1f s at most\n", m.starts[len(m.starts)/2], m.starts[len(m.starts)-1])
	fmt.Printf("all of them answer %.1f s after the machine's start (median)\n", m.booted[len(m.booted)/2])
	for i, name := range flashes {
		fmt.Printf("%-6s %5.1f MiB of memory at most, %s\n", name, float64(m.peaks[name])/1024, rateText(r.best[i]))
	}
}

// rateText tells a rate of which a busy machine leaves less than one, or no two looks in one life.
func rateText(best float64) string {
	if best == 0 {
		return "commits a second not seen"
	}
	return fmt.Sprintf("%.1f commits a second at best", best)
}
