package sync_test

import (
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"edgesync/proto"
	"edgesync/sync"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/sync/device"
	"edgesync/sync/registry"
)

// doorsRig is an agent with its doors for devices and a cloud in a box, in a bubble.
type doorsRig struct {
	*testing.T
	cloud *cloudtest.Cloud
	edge  proto.UUID
	agent *sync.Agent
	reg   *registry.Registry
	http  http.Handler
	mqtt  *bufconn.Listener
	run   func() // runs the agent until the test ends
}

// newDoorsRig assembles an agent that run runs, and that keeps these bulky kinds.
func newDoorsRig(t *testing.T, edge cloudtest.Edge, keep ...string) *doorsRig {
	r := &doorsRig{T: t, edge: edge.ID}
	tenant := cloudtest.NewTenant()
	tenant.AddEdge(edge)
	r.cloud = cloudtest.New(cloudtest.Options{Tenant: tenant, Seed: 1})
	link := rig.NewLink()
	go r.cloud.Serve(link)
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Cloud.RoutingKey, c.Cloud.RoutingSecret = edge.RoutingKey, edge.Secret
	log := slog.New(slog.DiscardHandler)
	data := rig.OpenDataKeeping(t, c.DataDir, log, nil, keep)
	r.reg = data.Registry
	r.agent = sync.NewAgent(sync.Deps{Config: &c, Queue: data.Queue, Dead: data.Dead, Registry: r.reg, Log: log, Version: "test"})
	r.agent.DialWith(link.Dial)
	intake := sync.NewIntake(data.Queue)
	intake.Remember(r.reg)
	doors := device.NewDoors(device.Ports{Intake: intake, Lookups: r.reg, Packages: r.reg, Calls: r.agent, Creations: r.agent, Log: log})
	r.agent.SetDoors(doors)
	r.reg.Watch(doors)
	r.http = device.NewHTTP(doors, c.HTTP.MaxBody)
	mqtt := device.NewMQTT(doors)
	r.mqtt = bufconn.Listen(1 << 16)
	go mqtt.Serve(r.mqtt)
	halt := func() {}
	r.Cleanup(func() {
		mqtt.Close()
		halt()
		r.cloud.Stop()
		link.Close()
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	})
	r.run = func() { halt = rig.Go(t.Context(), r.agent.Run) }
	return r
}

// elapse lets d pass on the fake clock, then waits until every goroutine is idle.
func (r *doorsRig) elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
