//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgesync/scripts/internal/rig"
)

const (
	// firstTime is the time of a device's reading 0, in ms since the epoch; that of reading n is n
	// ms later.
	firstTime int64 = 1767225600000
	// again is the pause before a post is repeated.
	again = 200 * time.Millisecond
)

// gateway is one agent with its device. One goroutine at a time uses it.
type gateway struct {
	device, token, http string
	config, log         string
	agent               *rig.Agent // the one of this life
	posted              int        // readings 1 to posted were acknowledged
	repeated            int        // posts that were made again
}

// newGateway writes the configuration of gateway n, from 1 on, of that cloud. Each has an address
// of its own, so that one free port serves all.
func newGateway(dir, cloud, port string, n int) (*gateway, error) {
	dir = filepath.Join(dir, fmt.Sprint(n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	g := &gateway{
		device: fmt.Sprintf("Device-%d 1", n), token: fmt.Sprintf("token-%d-1", n),
		http:   net.JoinHostPort(fmt.Sprintf("127.77.%d.%d", n>>8, n&0xff), port),
		config: filepath.Join(dir, "config.toml"), log: filepath.Join(dir, "agent.log"),
	}
	host, cloudPort, err := net.SplitHostPort(cloud)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`data_dir = %q

[cloud]
host = %q
port = %s
routing_key = "%s-%d"
routing_secret = "%s-%d"

[http]
listen = %q

[mqtt]
listen = ""
`, filepath.Join(dir, "data"), host, cloudPort, rig.RoutingKey, n, rig.Secret, n, g.http)
	return g, os.WriteFile(g.config, []byte(text), 0o600)
}

// start starts the agent, and does not wait for it.
func (g *gateway) start(ctx context.Context, bin string) (err error) {
	g.agent, err = rig.Launch(ctx, bin, g.config, g.log)
	return err
}

// post posts one reading after the other, with every between them, until stop is closed. What was
// not acknowledged is posted again, so that in the end the device knows of each reading that it has
// arrived.
func (g *gateway) post(ctx context.Context, client *http.Client, every time.Duration, stop <-chan struct{}) {
	t := time.NewTimer(rand.N(every))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		for !g.postOnce(ctx, client) {
			g.repeated++
			if rig.Pause(ctx, again) != nil {
				return
			}
		}
		g.posted++
		t.Reset(every)
	}
}

// postOnce reports whether the next reading was acknowledged.
func (g *gateway) postOnce(ctx context.Context, client *http.Client) bool {
	n := g.posted + 1
	body := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, firstTime+int64(n), n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.http+"/api/v1/"+g.token+"/telemetry", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10)) // so that the connection is used again
	return res.StatusCode == http.StatusOK
}

// compare says what is wrong with what the cloud has of the device; "": it is what was posted. more
// is how many readings are missing at the end, and may yet come.
func (g *gateway) compare(rows []rig.Row) (wrong string, more int) {
	for i, r := range rows {
		var v int
		switch n := i + 1; {
		case n > g.posted:
			return fmt.Sprintf("%s: %d readings are in the cloud, %d were posted", g.device, len(rows), g.posted), 0
		case json.Unmarshal(r.Value, &v) != nil || v != n || r.TS != firstTime+int64(n):
			return fmt.Sprintf("%s: reading %d is %s at %d", g.device, n, r.Value, r.TS), 0
		}
	}
	return "", g.posted - len(rows)
}
