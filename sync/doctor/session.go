package doctor

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/link"
)

// watchFor is how long a session looks out for another agent with the same key, which comes back
// within seconds when it was thrown out (CONTRACT.md 2.6).
const watchFor = 6 * time.Second

// session shows the edge's key to the cloud, or what the agent that runs knows of that.
func (x *examination) session() {
	switch {
	case x.Agent != nil:
		x.beside(x.Agent)
		return
	case x.Held:
		x.say("key", Open, "not tried: an agent holds data_dir and does not answer, and the cloud would end its session", "")
		return
	case x.Fault != nil:
		x.say("key", Open, "not tried: the configuration is wrong", "")
		return
	case !x.roused:
		x.say("key", Open, "not tried: there is no way to the cloud", "")
		return
	}
	secret := x.config.Cloud.RoutingSecret
	s, err := x.dialer.Open(x.ctx, secret, max(reachLimit, x.config.Cloud.Timeout))
	if err != nil {
		x.fault("key", err)
		return
	}
	defer func() {
		s.Close()
		<-s.Done()
	}()
	edge := s.Config()
	x.say("key", Good, "the cloud takes this edge: "+strconv.Quote(edge.GetName())+" of type "+strconv.Quote(edge.GetType()), "")
	server, do, state := "", "", Good
	switch kind := edge.GetCloudType(); kind {
	case "", "CE":
		server = "ThingsBoard CE"
	default:
		server, state = "ThingsBoard "+kind, Open
		do = "only the part of its protocol that CE has too is known here"
	}
	version := proto.EdgeVersion(x.config.Cloud.EdgeVersion)
	x.say("server", state, server+" (it does not tell its version; "+version.String()+" was announced to it), takes messages up to "+
		size(int64(s.ServerMax()))+"; ours up to "+size(int64(x.dialer.MaxInbound)), do)
	if x.Watch >= 0 {
		x.watch(s)
	}
}

// What is sent to measure the bandwidth, in bytes: the second when the first was quick.
var loads = [...]int{8 << 10, 256 << 10}

const (
	loadQuick = 500 * time.Millisecond
	loadLimit = 10 * time.Second // for the acknowledgement of either
)

// watch measures the bandwidth, and looks whether another agent ends the session.
func (x *examination) watch(s link.Session) {
	begin := time.Now()
	watch := x.Watch
	if watch == 0 {
		watch = watchFor
	}
	end := time.NewTimer(max(watch, loadLimit))
	defer end.Stop()
	load, sent := 0, begin
	send := func() {
		pad := make([]byte, min(loads[load], s.ServerMax()/2))
		_, _ = rand.Read(pad) // the stream is compressed
		sent = time.Now()
		s.Send(proto.AppendPaddedProbe(nil, int32(load+1), pad))
	}
	send()
	measured := false
	for {
		select {
		case in := <-s.Inbox():
			if in.Err != nil {
				x.ended(in.Err, time.Since(begin), measured)
				return
			}
			answer := in.Msg.GetUplinkResponseMsg()
			mine := answer != nil && int(answer.GetUplinkMsgId()) == load+1
			in.Handled()
			if !mine {
				continue
			}
			within := time.Since(sent)
			if load+1 < len(loads) && within < loadQuick {
				load++
				send()
				continue
			}
			measured = true
			end.Reset(max(0, watch-time.Since(begin)))
			x.say("bandwidth", Good, size(int64(float64(loads[load])/max(within, time.Microsecond).Seconds()))+"/s upward ("+
				size(int64(loads[load]))+" in "+took(within)+")", "")
		case <-end.C:
			if !measured {
				x.say("bandwidth", Open,
					size(int64(loads[load]))+" were not acknowledged within "+took(time.Since(begin))+": a slow link", "")
			}
			x.say("other agent", Good, "no other one with this key showed itself within "+took(max(watch, time.Since(begin))), "")
			x.say("sync", Open, "no agent runs; it syncs when it connects", "")
			return
		case <-x.ctx.Done():
			return
		}
	}
}

// ended says why a session ended that should have lasted.
func (x *examination) ended(err error, after time.Duration, measured bool) {
	if errors.Is(err, link.ErrCleanEnd) {
		x.say("other agent", Bad, "the cloud ended this session after "+took(after)+": another agent with the same key connected",
			"stop the other one, or give each an edge of its own in ThingsBoard")
		return
	}
	name := "bandwidth"
	if measured {
		name = "other agent"
	}
	x.fault(name, err)
}

// beside says what the agent that runs knows of its link.
func (x *examination) beside(s *agent.Snapshot) {
	state := "the agent that runs is " + s.State.String() + " since " + s.StateSince().UTC().Format(time.RFC3339)
	const own = " (its session is left alone: a second one with this key would end it)"
	linked := s.State.Linked()
	if linked {
		x.say("key", Good, state+own+", edge "+strconv.Quote(s.Edge), "")
		if s.RTTMS > 0 {
			x.say("bandwidth", Open, "not measured; the last acknowledgement took "+took(time.Duration(s.RTTMS*1e6)), "")
		}
	} else {
		found := state
		if s.LastError != "" {
			found += ": " + s.LastError
		}
		x.say("key", Bad, found, "see the lines above; edgesync reconnect has it try at once")
	}
	second := false
	for _, c := range s.Causes {
		second = second || strings.Contains(c.Text, agent.SecondAgent)
	}
	if second {
		x.say("other agent", Bad, "another agent uses this routing key",
			"stop the other one, or give each an edge of its own in ThingsBoard")
	} else {
		x.say("other agent", Good, "the agent that runs has seen no other one", "")
	}
	switch {
	case s.Sync != "":
		x.say("sync", Open, s.Sync, "")
	case s.Synced:
		x.say("sync", Good, plural(s.Devices, "device")+" came down", "")
	case linked:
		x.say("sync", Bad, "no sync has completed yet: no device is known here", "edgesync sync asks for one")
	default:
		x.say("sync", Open, "no sync has completed yet", "")
	}
}
