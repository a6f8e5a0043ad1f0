//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
)

// A load lasts loadRounds rounds of loadTime each, in turns with its yardstick.
const (
	loadRounds = 5
	loadTime   = time.Second
)

// oneEvent is the body of each post of a load.
const oneEvent = `{"ts":1767225600000,"values":{"temperature":21.5,"humidity":40,"wind":3.25}}`

// loadDevices is how many devices post.
const loadDevices = 100

// startLoaded starts an agent that knows loadDevices devices and has an MQTT door, no cloud, room
// for millions of events, these further settings, and an empty queue in a directory of its own. It
// returns the tokens of the devices.
func (s *site) startLoaded(ctx context.Context, name, settings string) (a *rig.Agent, tokens []string, err error) {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, nil, err
	}
	cloud, err := rig.StartCloud(ctx, s.bin.Cloud, filepath.Join(dir, "cloud.log"), loadDevices, "--discard")
	if err != nil {
		return nil, nil, err
	}
	defer cloud.Kill()
	devices, err := cloud.Devices(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range devices {
		tokens = append(tokens, d.Token)
	}
	start := func(cloud string) (*rig.Agent, error) {
		return startAgent(ctx, s.bin.Agent, dir, rig.Config{
			DataDir: filepath.Join(dir, "data"), Cloud: cloud, HTTPListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0",
			Extra: roomForMillions + settings,
		})
	}
	if a, err = start(cloud.GRPC); err != nil { // it learns the devices
		return nil, nil, err
	}
	if err := a.Stop(); err != nil {
		return nil, nil, err
	}
	a, err = start(s.dead)
	return a, tokens, err
}

// poster is one connection of a device.
type poster interface {
	// postUntil posts until that time, waits for all acknowledgements and returns their number.
	postUntil(until time.Time) (int, error)
}

// load is many connections to one server. During run each posts from a goroutine of its own.
type load struct {
	to      server
	posters []poster
}

// connect makes a connection for each token. The returned function closes all of them; so does the
// end of ctx.
func connect(ctx context.Context, to server, tokens []string, open func(c net.Conn, token string) (poster, error)) (*load, func(), error) {
	l := &load{to: to}
	var conns []net.Conn
	closeAll := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for _, token := range tokens {
		c, err := net.Dial("tcp", to.address)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		conns = append(conns, c)
		p, err := open(c, token)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		l.posters = append(l.posters, p)
	}
	stop := context.AfterFunc(ctx, closeAll)
	return l, func() { stop(); closeAll() }, nil
}

// run posts for loadTime. It returns how many events were acknowledged and how much CPU time the
// server took.
func (l *load) run() (events int, cpu time.Duration, err error) {
	before, err := rig.CPUTime(l.to.pid)
	if err != nil {
		return 0, 0, err
	}
	counts, errs := make([]int, len(l.posters)), make([]error, len(l.posters))
	until := time.Now().Add(loadTime)
	var all sync.WaitGroup
	for i, p := range l.posters {
		all.Go(func() { counts[i], errs[i] = p.postUntil(until) })
	}
	all.Wait()
	after, err := rig.CPUTime(l.to.pid)
	if err = errors.Join(append(errs, err)...); err != nil {
		return 0, 0, err
	}
	for _, n := range counts {
		events += n
	}
	return events, after - before, nil
}

// rates are the results of a load and of its yardstick: events a second in the round whose ratio is
// the median, and CPU time in ms per 1,000 events of all rounds.
type rates struct {
	perSecond, cpu           float64
	otherPerSecond, otherCPU float64
}

// measure runs the load and another one in turns, after one run of each that does not count.
func (l *load) measure(other func() (events int, cpu time.Duration, err error)) (rates, error) {
	var per, events, cpu [2][]float64
	for round := range loadRounds + 1 {
		for i, run := range []func() (int, time.Duration, error){l.run, other} {
			begin := time.Now()
			n, used, err := run()
			if err != nil {
				return rates{}, err
			}
			if round > 0 {
				per[i] = append(per[i], float64(n)/time.Since(begin).Seconds())
				events[i] = append(events[i], float64(n))
				cpu[i] = append(cpu[i], float64(used.Microseconds())) // µs per event are ms per 1,000 events
			}
		}
	}
	var r rates
	r.perSecond, r.otherPerSecond = medianPair(per[0], per[1])
	r.cpu, r.otherCPU = sum(cpu[0])/max(sum(events[0]), 1), sum(cpu[1])/max(sum(events[1]), 1)
	return r, nil
}

func sum(list []float64) (total float64) {
	for _, v := range list {
		total += v
	}
	return total
}
