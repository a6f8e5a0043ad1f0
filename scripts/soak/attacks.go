//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
	"edgesync/sync/cloudtest"
)

// attack is one row of the table. run carries the attack out and ends it: when it returns, nothing
// of it is left but what the agent makes of it. It returns figures for its line. An error is a
// breach.
type attack struct {
	name string
	long bool // does not fit into a run of a minute
	run  func(ctx context.Context, s *soak) (said string, err error)
}

// attacks are all there are. A run shuffles them.
var attacks = []attack{
	{name: "link cut", run: linkCut},
	{name: "half-open link", run: halfOpen},
	{name: "slow link", run: slowLink},
	{name: "lost acknowledgements", run: lostAcks},
	{name: "server restart", run: serverRestart},
	{name: "restless sessions", run: restless},
	{name: "stalled cloud", run: stalledCloud},
	{name: "slow cloud", run: slowCloud},
	{name: "refused connects", run: refusedConnects},
	{name: "renewed and restored secret", long: true, run: renewedSecret},
	{name: "cloud refuses everything", run: refuseAll},
	{name: "cloud fails what it stores", run: failAll},
	{name: "cloud limits the rate", run: rateLimit},
	{name: "refused creations", run: refuseCreations},
	{name: "one refused event", run: refuseOne},
	{name: "one event ends the stream", long: true, run: endByOne},
	{name: "tiny limit of the cloud", run: tinyLimit},
	{name: "another edge", long: true, run: anotherEdge},
	{name: "flood of downlinks", run: floodDownlinks},
	{name: "flood of one downlink", run: floodWithOne},
	{name: "flood of calls", run: floodCalls},
	{name: "endless sync", run: endlessSync},
	{name: "sync of ever new entities", run: longSync},
	{name: "churn of devices", run: churn},

	{name: "token guessing", run: guess},
	{name: "token guessing through a restart", run: guessThroughRestart},
	{name: "slow bodies", run: slowBodies},
	{name: "1100 stalled connections", long: true, run: stalledConnections},
	{name: "slow readers of large answers", run: slowReaders},
	{name: "half packets of anonymous MQTT", run: halfPackets},
	{name: "huge packets", run: hugePackets},

	{name: "kill -9", run: killNine},
	{name: "kill -9 in a row", run: killsInARow},
	{name: "kill -9 while the link is cut", run: killWhileCut},
	{name: "SIGSTOP", run: sigstop},
	{name: "clean restart", run: cleanRestart},
	{name: "wrong file types", run: wrongTypes},
	{name: "damaged registry", run: damagedRegistry},
	{name: "damaged small files", run: damagedSmallFiles},
}

// span is a random time between both; in a brief run at most an eighth of the difference beyond the
// lower.
func (s *soak) span(low, high time.Duration) time.Duration {
	if s.brief {
		high = low + (high-low)/8
	}
	return low + time.Duration(s.random.Int64N(int64(high-low)+1))
}

// during switches a fault on, waits and switches it off.
func (s *soak) during(ctx context.Context, low, high time.Duration, fault func(on bool)) (string, error) {
	d := s.span(low, high)
	fault(true)
	err := rig.Pause(ctx, d)
	fault(false)
	return fmt.Sprintf("for %.1f s", d.Seconds()), err
}

// noAttack leaves the honest devices to themselves.
func noAttack(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, 10*time.Second, 10*time.Second, func(bool) {})
}

func linkCut(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, time.Second, 20*time.Second, s.link.cut)
}

func halfOpen(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, time.Second, 25*time.Second, s.link.swallow)
}

// slowLink leaves 2 to 16 KB/s each way.
func slowLink(ctx context.Context, s *soak) (string, error) {
	rate, delay := 2000<<s.random.IntN(4), time.Duration(50+s.random.IntN(300))*time.Millisecond
	said, err := s.during(ctx, 2*time.Second, 25*time.Second, func(on bool) {
		if on {
			s.link.slow(rate, delay)
		} else {
			s.link.slow(0, 0)
		}
	})
	return fmt.Sprintf("%d bytes/s, %v, %s", rate, delay, said), err
}

func lostAcks(ctx context.Context, s *soak) (string, error) {
	n := 1 + s.random.IntN(20)
	s.cloud.DropAcks(n)
	return fmt.Sprintf("%d lost", n), rig.Pause(ctx, s.span(time.Second, 5*time.Second))
}

// serverRestart ends the cloud and lets it come back on another port, which the link knows.
func serverRestart(ctx context.Context, s *soak) (string, error) {
	s.cloud.Stop()
	d := s.span(500*time.Millisecond, 10*time.Second)
	err := rig.Pause(ctx, d)
	address, failed := s.serve()
	if failed != nil {
		return "", failed
	}
	s.link.target.Store(&address)
	return fmt.Sprintf("gone for %.1f s", d.Seconds()), err
}

// restless ends the session again and again in every way there is, and sends downlinks twice.
func restless(ctx context.Context, s *soak) (string, error) {
	s.cloud.DuplicateDownlinks(true)
	defer s.cloud.DuplicateDownlinks(false)
	ends := []cloudtest.Ending{cloudtest.EndOK, cloudtest.EndUnknown, cloudtest.EndCancelled, cloudtest.EndReset}
	n := 2 + s.random.IntN(3)
	for range n {
		s.cloud.EndSessions(ends[s.random.IntN(len(ends))])
		if err := rig.Pause(ctx, s.span(200*time.Millisecond, 2*time.Second)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d ends", n), nil
}

func stalledCloud(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, time.Second, 25*time.Second, s.cloud.Stall)
}

// slowCloud takes its time for each event and answers late and out of order.
func slowCloud(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, 2*time.Second, 20*time.Second, func(on bool) {
		if on {
			s.cloud.SlowHandler(20*time.Millisecond, 2*time.Millisecond)
			s.cloud.DelayAcks(300 * time.Millisecond)
			s.cloud.ReorderAcks(0.5)
			return
		}
		s.cloud.SlowHandler(0, 0)
		s.cloud.DelayAcks(0)
		s.cloud.ReorderAcks(0.004)
	})
}

// refusedConnects ends the session and refuses the next ones.
func refusedConnects(ctx context.Context, s *soak) (string, error) {
	code := proto.ConnectResponseCode_SERVER_UNAVAILABLE
	if !s.brief && s.random.IntN(2) == 0 {
		code = proto.ConnectResponseCode_BAD_CREDENTIALS
	}
	said, err := s.during(ctx, time.Second, 10*time.Second, func(on bool) {
		if !on {
			s.cloud.RefuseConnect(proto.ConnectResponseCode_ACCEPTED)
			return
		}
		s.cloud.RefuseConnect(code)
		s.cloud.EndSessions(cloudtest.EndOK)
	})
	return code.String() + " " + said, err
}

// renewedSecret gives the edge another secret, which the agent must know in its next life too, and
// takes that back as a server does that was restored from a backup.
func renewedSecret(ctx context.Context, s *soak) (string, error) {
	renewed := s.edge
	renewed.Secret = fmt.Sprintf("renewed-%d", s.random.Uint64())
	s.cloud.SaveEdge(renewed)
	if _, err := s.mark(ctx, backLimit); err != nil {
		return "", err
	}
	s.kill()
	if _, err := s.again(ctx); err != nil {
		return "", err
	}
	with, err := s.mark(ctx, backLimit)
	if err != nil {
		return "", err
	}
	s.cloud.RestoreEdge(s.edge)
	return fmt.Sprintf("with the renewed one after a kill in %.2f s", with.Seconds()), nil
}

// refusal is a text that says nothing of the event.
const refusal = "the database is being maintained"

func refuseAll(ctx context.Context, s *soak) (string, error) {
	var n atomic.Int64
	said, err := s.during(ctx, time.Second, 30*time.Second, func(on bool) {
		if !on {
			s.cloud.RefuseUplink(nil)
			return
		}
		s.cloud.RefuseUplink(func(*proto.UplinkMsg) string { n.Add(1); return refusal })
	})
	return fmt.Sprintf("%d uplinks refused, %s", n.Load(), said), err
}

// failAll processes everything and says that it failed.
func failAll(ctx context.Context, s *soak) (string, error) {
	var n atomic.Int64
	said, err := s.during(ctx, time.Second, 10*time.Second, func(on bool) {
		if !on {
			s.cloud.FailUplink(nil)
			return
		}
		s.cloud.FailUplink(func(*proto.UplinkMsg) string { n.Add(1); return refusal })
	})
	return fmt.Sprintf("%d uplinks failed, %s", n.Load(), said), err
}

func rateLimit(ctx context.Context, s *soak) (string, error) {
	return s.during(ctx, time.Second, 10*time.Second, s.cloud.RateLimit)
}

// refuseCreations refuses every device that the tenant does not have. Each sync leaves these
// devices out, and the agent must keep them all the same.
func refuseCreations(ctx context.Context, s *soak) (string, error) {
	s.cloud.RefuseCreations("Devices limit reached", 0)
	d := s.span(4*time.Second, 20*time.Second)
	err := rig.Pause(ctx, d/2)
	if err == nil {
		s.cloud.EndSessions(cloudtest.EndReset) // and a sync
		err = rig.Pause(ctx, d/2)
	}
	st, _ := s.status()
	s.cloud.RefuseCreations("", 0)
	if err != nil {
		return "", err
	}
	gone, err := s.noneDead(ctx)
	return fmt.Sprintf("for %.1f s, %d dead letters, all delivered %.2f s later", d.Seconds(), st.Dead, gone.Seconds()), err
}

// noneDead waits until the dead letters are delivered.
func (s *soak) noneDead(ctx context.Context) (took time.Duration, err error) {
	begun := time.Now()
	err = until(ctx, quietLimit, "the dead letters are delivered", func() bool {
		st, err := s.status()
		return err == nil && st.Dead == 0
	})
	return time.Since(begun), err
}

// refuseOne refuses whatever holds one certain reading. Others pass meanwhile.
func refuseOne(ctx context.Context, s *soak) (string, error) {
	return s.poison(ctx, func(poisoned func(*proto.UplinkMsg) bool) {
		s.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			if poisoned(u) {
				return refusal
			}
			return ""
		})
	}, func() error { s.cloud.RefuseUplink(nil); return nil })
}

// endByOne ends the stream at whatever holds one certain reading. Such a dead letter rests until a
// person wakes it, which is done at the end.
func endByOne(ctx context.Context, s *soak) (string, error) {
	return s.poison(ctx, func(poisoned func(*proto.UplinkMsg) bool) {
		s.cloud.EndStreamIf(poisoned, cloudtest.EndUnknown)
	}, func() error {
		s.cloud.EndStreamIf(nil, cloudtest.EndOK)
		if out, err := exec.CommandContext(ctx, s.bin, "dead", "retry", "all", "--config", s.config).CombinedOutput(); err != nil {
			return fmt.Errorf("edgesync dead retry all: %w: %s", err, out)
		}
		return nil
	})
}

// poison chooses a reading that comes next and lets on act on the uplinks that hold it, until
// readings of others have passed it by.
func (s *soak) poison(ctx context.Context, on func(poisoned func(*proto.UplinkMsg) bool), off func() error) (string, error) {
	id, _ := s.idOf("pump 0")
	var times atomic.Int64
	s.mu.Lock()
	var ts int64
	for _, st := range s.streams {
		if st.device == "pump 0" {
			sent, _ := st.counts()
			ts = firstTime + int64(sent) + 20
		}
	}
	s.mu.Unlock()
	on(func(u *proto.UplinkMsg) bool {
		for _, d := range u.GetEntityData() {
			if proto.UUIDOf(d.EntityIdMSB, d.EntityIdLSB) != id {
				continue
			}
			for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
				if l.GetTs() == ts {
					times.Add(1)
					return true
				}
			}
		}
		return false
	})
	// Data of a device that was just made may be there too, for a while.
	err := until(ctx, time.Minute, "the refused event lies in the dead letters", func() bool {
		st, err := s.status()
		return err == nil && st.Dead > 0 && times.Load() > 0
	})
	passed := time.Duration(0)
	if err == nil {
		passed, err = s.mark(ctx, backLimit)
	}
	if err := errors.Join(err, off()); err != nil {
		return "", err
	}
	gone, err := s.noneDead(ctx)
	return fmt.Sprintf("sent %d times, others passed after %.2f s, delivered %.2f s after the end",
		times.Load(), passed.Seconds(), gone.Seconds()), err
}

func floodDownlinks(ctx context.Context, s *soak) (string, error) {
	n := 2000
	if s.brief {
		n = 300
	}
	s.cloud.FloodDeleted(n)
	s.cloud.StartSync(s.edge.ID)
	begun := time.Now()
	err := until(ctx, quietLimit, "the cloud has got rid of the downlinks", func() bool { return s.cloud.Pending(s.edge.ID) < 10 })
	return fmt.Sprintf("%d downlinks and a sync, taken in %.1f s", n, time.Since(begun).Seconds()), err
}

// floodCalls calls one device many times at once.
func floodCalls(ctx context.Context, s *soak) (string, error) {
	id, _ := s.idOf("pump 2")
	var all sync.WaitGroup
	var answered atomic.Int64
	n := 200
	for i := range n {
		all.Go(func() {
			want := fmt.Sprintf(`{"n":%d}`, i)
			got, err := s.cloud.CallRPC(ctx, id, "echo", want, false, 10*time.Second)
			switch {
			case err != nil:
			case sameJSON(got, want):
				answered.Add(1)
			default:
				s.breach("a call was answered with %.200q instead of %q", got, want)
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("%d of %d answered", answered.Load(), n), ctx.Err()
}

// endlessSync begins a sync that does not end, in a session that is not polled.
func endlessSync(ctx context.Context, s *soak) (string, error) {
	said, err := s.during(ctx, time.Second, 15*time.Second, func(on bool) {
		s.cloud.NeverCompleteSync(on)
		s.cloud.SilenceDownlinks(on)
		if on {
			s.cloud.StartSync(s.edge.ID)
		} else {
			s.cloud.EndSessions(cloudtest.EndReset) // else nothing comes down until the agent has waited for 3 min
		}
	})
	return said, err
}

// churn creates devices in the cloud, renames them, changes their credentials and deletes them; at
// each step the agent must serve what is right then. What they have sent is compared before they
// are deleted.
func churn(ctx context.Context, s *soak) (string, error) {
	n := 4
	if s.brief {
		n = 2
	}
	tenant := s.cloud.Tenant()
	begun := time.Now()
	v := verdict{}
	for range n {
		s.churns++
		name := fmt.Sprint("passer-by ", s.churns)
		token := fmt.Sprint("passer-by-", s.churns)
		id := tenant.NewID()
		post := func(token string, from, k int, readings *stream) bool {
			code, _ := s.ask(ctx, s.client, "POST", "/api/v1/"+token+"/telemetry", string(readings.appendReadings(nil, from, k, false)))
			return code == 200
		}
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{ID: id, Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: token})
		readings := &stream{device: name}
		for step := range 3 {
			if err := until(ctx, quietLimit, fmt.Sprintf("%s is let in with its token, step %d", name, step), func() bool {
				from := readings.take(2)
				if post(token, from, 2, readings) {
					readings.ack(from, 2)
					return true
				}
				return false
			}); err != nil {
				return "", err
			}
			switch step {
			case 0:
				if err := s.cloud.RenameDevice(id, name+" renamed"); err != nil {
					return "", err
				}
			case 1:
				old := token
				token += "-new"
				s.cloud.SetCredentials(id, "ACCESS_TOKEN", token, "")
				if err := until(ctx, quietLimit, name+" is refused with its old token", func() bool {
					code, _ := s.ask(ctx, s.client, "GET", "/api/v1/"+old+"/attributes", "")
					return code == 401
				}); err != nil {
					return "", err
				}
			}
		}
		// A reading that arrived and is stored is compared now; behind the deletion nothing can be.
		if _, err := s.mark(ctx, backLimit); err != nil {
			return "", err
		}
		readings.compare(tenant.Series, id, &v)
		s.cloud.DeleteDevice(id)
		if err := until(ctx, quietLimit, name+" is refused when it is deleted", func() bool {
			code, _ := s.ask(ctx, s.client, "GET", "/api/v1/"+token+"/attributes", "")
			return code == 401
		}); err != nil {
			return "", err
		}
	}
	for _, p := range v.problems {
		s.breach("%s", p)
	}
	return fmt.Sprintf("%d devices in %.1f s, %d values", n, time.Since(begun).Seconds(), v.acked), nil
}
