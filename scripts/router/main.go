//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
	"edgesync/sync/cloudtest"
)

const (
	firstTime = 1767225600000 // of event 0 of each device, in ms; event n is n ms later
	firstBig  = 1 << 30       // number of the first of those that fill the flash
	bigBytes  = 24 << 10      // of its text, which does not compress to less than three quarters
	senders   = 2             // devices for each agent
	leftFree  = 512 << 10     // of raw flash of 16 MiB (medium.Floor)
	ahead     = 300           // events beyond those of the next cut that devices may send
	// How long nothing may come to the cloud that has all to come, and a flash be neither filled
	// further nor full: an emulator on a busy machine is slow, but not as slow as that.
	drainLimit = 3 * time.Minute
	fullLimit  = 3 * time.Minute
)

// every is the file systems, in the order of their agents' ports (init); flashes those of this run.
var (
	every   = []string{"jffs2", "ubifs", "f2fs"}
	flashes = every
)

func main() {
	events := flag.Int("events", 10_000, "that the devices send")
	cuts := flag.Int("cuts", 20, "of the power, beside those when the flash is full")
	full := flag.Bool("full", true, "fill the flashes at the end")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "decides the moments of the cuts")
	only := flag.String("flash", "", "file systems, separated by commas; left out: "+strings.Join(every, ","))
	dir := flag.String("dir", "build/router", "what prepare has made")
	flag.Parse()
	if *only != "" {
		flashes = strings.Split(*only, ",")
	}
	for _, name := range flashes {
		if !slices.Contains(every, name) {
			fmt.Fprintln(os.Stderr, "router: there is no flash", name)
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *events, *cuts, *full, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "router:", err)
		os.Exit(1)
	}
}

// device posts to one agent, one event at a time, and notes what was acknowledged. Its goroutine
// owns sent and big; the others are read when it has ended.
type device struct {
	token string
	id    proto.UUID
	url   string
	life  *atomic.Int64
	sent  int          // events 0 to sent-1 were sent
	big   int          // and so many of those that fill the flash
	acked map[int]bool // numbers of those that the agent has acknowledged
	lives map[int]when // and when it has
}

// when is the life of the machine in which an event was acknowledged, and the time.
type when struct {
	number int64
	at     time.Time
}

func run(ctx context.Context, dir string, events, cuts int, full bool, seed uint64) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fmt.Printf("%d events, %d cuts, -seed %d\n", events, cuts, seed)
	cloud := cloudtest.New(cloudtest.Options{Seed: seed, Patience: time.Minute})
	defer cloud.Stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	go cloud.Serve(listener)
	log, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nwhat the machine said is in %s", err, log.Name())
		}
	}()
	m, err := newMachine(dir, listener.Addr().(*net.TCPAddr).Port, log)
	if err != nil {
		return err
	}
	defer m.remove()
	defer m.cut()
	var devices []*device
	tenant := cloud.Tenant()
	for i, name := range flashes {
		edge := cloudtest.Edge{
			ID: tenant.NewID(), Name: name, RoutingKey: "key-" + name, Secret: "rig-secret",
			Customer: proto.NullUUID, Created: time.Now().Add(-time.Hour),
		}
		tenant.AddEdge(edge)
		for k := range senders {
			d := &device{
				token: fmt.Sprintf("%s-%d", name, k), id: tenant.NewID(), acked: map[int]bool{}, lives: map[int]when{},
				life: &m.life,
				url:  fmt.Sprintf("http://127.0.0.1:%d", m.ports[i]),
			}
			cloud.AddDevice(edge.ID, cloudtest.Device{
				ID: d.id, Name: d.token, CredentialsType: "ACCESS_TOKEN", CredentialsID: d.token,
			})
			devices = append(devices, d)
		}
	}

	begun := time.Now()
	if err := m.start(); err != nil {
		return err
	}
	var acked, allowed atomic.Int64
	allow := func(cut int) { allowed.Store(int64(events)*int64(cut)/int64(cuts+1) + ahead) }
	allow(1)
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() { d.send(ctx, events/len(devices), &acked, &allowed) })
	}
	sent := make(chan struct{})
	go func() { all.Wait(); close(sent) }()
	random := rand.New(rand.NewPCG(seed, 1))
	rate := newRates(m.ports)
	rate.begin()
	for cut := 1; cut <= cuts; cut++ {
		for acked.Load() < int64(events)*int64(cut)/int64(cuts+1) {
			rate.look(ctx)
			if err := rig.Pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			if err := m.failed(); err != nil {
				return err
			}
		}
		if err := rig.Pause(ctx, time.Duration(random.IntN(400))*time.Millisecond); err != nil {
			return err
		}
		m.cut()
		fmt.Printf("cut %2d after %5d events, %3.0f s\n", cut, acked.Load(), time.Since(begun).Seconds())
		if err := m.start(); err != nil {
			return fmt.Errorf("after cut %d: %w", cut, err)
		}
		rate.begin()
		allow(cut + 1)
	}
	allowed.Store(math.MaxInt64)
	select {
	case <-sent:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := drain(ctx, m, cloud, devices); err != nil {
		return err
	}
	if full {
		cloud.Stop()
		if err := fill(ctx, m, devices, random); err != nil {
			return err
		}
		if listener, err = net.Listen("tcp", address); err != nil {
			return err
		}
		go cloud.Serve(listener)
		if err := drain(ctx, m, cloud, devices); err != nil {
			return err
		}
		for _, d := range devices { // events are taken again
			all.Go(func() { d.send(ctx, d.sent+20, &acked, &allowed) })
		}
		all.Wait()
		if err := drain(ctx, m, cloud, devices); err != nil {
			return err
		}
	}
	report(m, rate, acked.Load(), time.Since(begun))
	return m.failed()
}

// send posts events up to a number, each until it is acknowledged, and not more than are allowed at
// the time.
func (d *device) send(ctx context.Context, upTo int, acked, allowed *atomic.Int64) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for d.sent < upTo && ctx.Err() == nil {
		if acked.Load() >= allowed.Load() {
			_ = rig.Pause(ctx, 50*time.Millisecond)
			continue
		}
		n := d.sent
		d.sent++
		body := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, firstTime+int64(n), n)
		for d.post(ctx, client, body) != http.StatusOK && rig.Pause(ctx, 100*time.Millisecond) == nil {
		}
		if ctx.Err() == nil {
			d.acked[n] = true
			d.lives[n] = when{d.life.Load(), time.Now()}
			acked.Add(1)
		}
	}
}

// post is the status of an answer; 0 if there is none.
func (d *device) post(ctx context.Context, client *http.Client, body string) int {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/api/v1/"+d.token+"/telemetry", strings.NewReader(body))
	if err != nil {
		return 0
	}
	q.Header.Set("Content-Type", "application/json")
	res, err := client.Do(q)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

// fill has the first device of each agent post large events until there is no room for them, cuts
// the power, and has it try again.
func fill(ctx context.Context, m *machine, devices []*device, random *rand.Rand) error {
	for round := range 2 {
		var all sync.WaitGroup
		failures := make([]error, len(flashes))
		for i := range flashes {
			all.Go(func() { failures[i] = devices[i*senders].stuff(ctx) })
		}
		all.Wait()
		if err := errors.Join(failures...); err != nil {
			return err
		}
		counts := ""
		for i, name := range flashes {
			free := mediumFree(ctx, m.ports[i])
			counts += fmt.Sprintf(" %s %d (%d KiB free)", name, devices[i*senders].big, free>>10)
			if name != "f2fs" && free < leftFree/2 { // the kernel's own number moves as it tidies up
				return fmt.Errorf("%s: %d bytes are free, less than half of the %d that are to stay free", name, free, leftFree)
			}
		}
		fmt.Printf("full, round %d: events of %d KiB taken:%s\n", round+1, bigBytes>>10, counts)
		if err := rig.Pause(ctx, time.Duration(random.IntN(3000))*time.Millisecond); err != nil {
			return err
		}
		m.cut()
		if err := m.start(); err != nil {
			return fmt.Errorf("with a full flash: %w", err)
		}
	}
	return nil
}

// stuff posts large events until ten in a row are refused for want of room.
func (d *device) stuff(ctx context.Context) error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	since := time.Now()
	for refused := 0; refused < 10; {
		if time.Since(since) > fullLimit {
			return fmt.Errorf("%s: after %d large events the flash is not full, and takes none", d.token, d.big)
		}
		n := firstBig + d.big
		switch code := d.post(ctx, client, fmt.Sprintf(`{"ts":%d,"values":{"n":%d,"text":%q}}`, firstTime+int64(n), n, bigText(n))); code {
		case http.StatusOK:
			d.acked[n] = true
			d.big++
			refused, since = 0, time.Now()
		case http.StatusServiceUnavailable:
			refused++
			if err := rig.Pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		case 0, http.StatusBadRequest: // of a body that came too slowly, as the machine's clock saw it
			if err := rig.Pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: status %d while the flash is filled", d.token, code)
		}
	}
	d.big++ // what was refused may be there: it is sent no more
	return nil
}

// bigText is the text of a large event: six random bits a byte.
func bigText(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	r := rand.New(rand.NewPCG(uint64(n), 2))
	b := make([]byte, bigBytes)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// drain waits until every acknowledged event is in the cloud, and compares.
func drain(ctx context.Context, m *machine, cloud *cloudtest.Cloud, devices []*device) error {
	missing := func() int {
		n := 0
		for _, d := range devices {
			n += len(d.acked)
			for _, p := range cloud.Tenant().Series(d.id, "n") {
				if d.acked[int(p.TS-firstTime)] {
					n--
				}
			}
		}
		return n
	}
	least, since := math.MaxInt, time.Now()
	for n := missing(); n > 0; n = missing() {
		if n < least {
			least, since = n, time.Now()
		}
		if time.Since(since) > drainLimit {
			return fmt.Errorf("%d acknowledged events are not in the cloud, and none has come for %v%s", n, drainLimit,
				lost(m, cloud, devices))
		}
		if err := rig.Pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		if err := m.failed(); err != nil {
			return err
		}
	}
	for _, d := range devices {
		texts := map[int64]string{}
		for _, p := range cloud.Tenant().Series(d.id, "text") {
			texts[p.TS] = p.Value.Str
		}
		for _, p := range cloud.Tenant().Series(d.id, "n") {
			n := int(p.TS - firstTime)
			switch {
			case p.Value.Long != int64(n):
				return fmt.Errorf("%s: event %d has the value %d", d.token, n, p.Value.Long)
			case n < 0 || n >= d.sent && n < firstBig || n > firstBig+d.big:
				return fmt.Errorf("%s: event %d was never sent", d.token, n)
			case n >= firstBig && texts[p.TS] != bigText(n):
				return fmt.Errorf("%s: the text of event %d is another", d.token, n)
			}
		}
	}
	return nil
}
