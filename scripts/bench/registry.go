//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

const (
	manyDevices   = 5000
	attributesOf  = 4 // shared attributes of each of them
	registryLimit = 2 * time.Minute
)

// registry measures the memory of an agent whose cloud has very many devices: during the first full
// sync and the arrival of all attributes, after it, and after a restart from flash without a cloud.
// The restarted agent must know every device and every value. The measurement has a cloud and a
// data directory of its own.
//
// The cloud pushes the attributes as soon as the sync is over. Meanwhile the agent also asks for
// them, a few devices a second.
func registry(ctx context.Context, t *table, bin rig.Binaries, dir string, nothingMB float64) error {
	dir = filepath.Join(dir, "registry")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cloud, err := rig.StartCloud(ctx, bin.Cloud, filepath.Join(dir, "cloud.log"), manyDevices)
	if err != nil {
		return err
	}
	defer cloud.Kill()
	devices, err := cloud.Devices(ctx)
	if err != nil {
		return err
	}
	dead, err := freeAddress()
	if err != nil {
		return err
	}
	start := func(cloud string) (*rig.Agent, error) {
		return startAgent(ctx, bin.Agent, dir, rig.Config{DataDir: filepath.Join(dir, "data"), Cloud: cloud, HTTPListen: "127.0.0.1:0"})
	}
	row := func(what string, mb float64) {
		t.add(line{what: what, measured: mb, format: "%.1f", yardstick: nothingMB, of: nothingWords, bound: 24})
	}

	a, err := start(cloud.GRPC)
	if err != nil {
		return err
	}
	defer func() { a.Kill() }()
	if err := cloud.Command(ctx, fmt.Sprintf("attrs %d", attributesOf)); err != nil {
		return err
	}
	var last agent.Snapshot
	var failure error
	err = rig.Poll(ctx, 200*time.Millisecond, registryLimit, a.Done(), func() bool {
		var st rig.Stats
		if last, failure = a.Status(ctx); failure == nil {
			st, failure = cloud.Stats(ctx)
		}
		return failure == nil && last.Devices == manyDevices && kept(last, "entityData") >= manyDevices && st.PendingDownlinks == 0
	})
	if err != nil {
		return fmt.Errorf("the cloud's devices and attributes did not come: %w; "+
			"%d devices, %d messages with attributes (%v)", err, last.Devices, kept(last, "entityData"), failure)
	}
	if err := pause(ctx, steadyAfter); err != nil {
		return err
	}
	now, highest, err := rss(a.PID())
	if err != nil {
		return err
	}
	row("RSS at most, first sync of "+grouped(manyDevices)+" devices, MB", highest)
	row("RSS after it, with "+grouped(manyDevices*attributesOf)+" attributes, MB", now)
	if err := a.Stop(); err != nil {
		return err
	}

	if a, err = start(dead); err != nil {
		return err
	}
	if err := pause(ctx, steadyAfter); err != nil {
		return err
	}
	if now, highest, err = rss(a.PID()); err != nil {
		return err
	}
	row("RSS at most, restarted with them, MB", highest)
	row("RSS after that, MB", now)
	if err := checkAttributes(ctx, a.HTTP, devices); err != nil {
		return err
	}
	return a.Stop()
}

// kept returns how many messages of a part were kept.
func kept(s agent.Snapshot, part string) uint64 {
	for _, p := range s.Parts {
		if p.Name == part {
			return p.Kept
		}
	}
	return 0
}

// checkAttributes asks the agent for the shared attributes of each device, with the device's token,
// and compares them with those that the cloud in a box set.
func checkAttributes(ctx context.Context, address string, devices []rig.Device) error {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for i, d := range devices {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet,
			"http://"+address+"/api/v1/"+d.Token+"/attributes?sharedKeys=attr-1,attr-2,attr-3,attr-4,attr-5", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
		res.Body.Close()
		if err != nil {
			return err
		}
		var got struct {
			Shared map[string]any `json:"shared"`
		}
		err = json.Unmarshal(body, &got)
		if text := fmt.Sprintf("text %d of device %d", attributesOf, i); err != nil || len(got.Shared) != attributesOf ||
			got.Shared["attr-1"] != float64(i) || got.Shared[fmt.Sprintf("attr-%d", attributesOf)] != text {
			return fmt.Errorf("after the restart %s is answered %s with %.200q for its attributes", d.Name, res.Status, body)
		}
	}
	return nil
}
