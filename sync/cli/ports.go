package cli

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/sync/device"
	"edgesync/sync/doctor"
	"edgesync/sync/keypair"
	"edgesync/sync/rest"
	"edgesync/sync/status"
)

// ports is what listens for devices and people.
type ports struct {
	door                *device.MQTT
	server              *device.Server // serves nothing while http.listen is empty
	web                 net.Listener   // of server; nil while http.listen is empty
	webTLS              net.Listener   // the same over TLS
	http, mqtt, mqttTLS string         // addresses; "" is off
	httpTLS             string
	pairs               []*keypair.Pair
	stopping            chan struct{} // closed when the ports begin to stop
	failed              chan error    // room for each listener: none of them waits for a reader
}

// listenMQTT opens the listeners for MQTT devices and serves them.
func (g *gateway) listenMQTT() error {
	g.ports.door = device.NewMQTT(g.doors)
	g.opened(g.ports.door.Close)
	c := &g.config.MQTT
	if c.Listen != "" {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return doctor.Closed("mqtt.listen", c.Listen, err)
		}
		g.ports.mqtt = l.Addr().String()
		go g.ports.serveMQTT(l)
	}
	if c.TLS.Listen != "" {
		pair, err := g.openPair("mqtt.tls", &c.TLS)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", c.TLS.Listen)
		if err != nil {
			return doctor.Closed("mqtt.tls.listen", c.TLS.Listen, err)
		}
		g.ports.mqttTLS = l.Addr().String()
		go g.ports.serveMQTT(tls.NewListener(l, device.TLSConfig(pair.Get)))
	}
	return nil
}

// openPair opens the certificate of a door. name is what the configuration calls the door.
func (g *gateway) openPair(name string, c *config.DoorTLS) (*keypair.Pair, error) {
	pair, err := keypair.Open(name, c.CertFile, c.KeyFile, g.log)
	if err == nil {
		g.ports.pairs = append(g.ports.pairs, pair)
	}
	return pair, err
}

// checkPairs looks whether certificates were renewed.
func (p *ports) checkPairs() {
	for _, pair := range p.pairs {
		pair.Check()
	}
}

// pairWarnings are what a person has to do about certificates. now is zero while the time is not
// known.
func (p *ports) pairWarnings(now time.Time) (list []string) {
	for _, pair := range p.pairs {
		if w := pair.Warning(now); w != "" {
			list = append(list, w)
		}
	}
	return list
}

func (p *ports) serveMQTT(l net.Listener) {
	if err := p.door.Serve(l); err != nil {
		p.failed <- err
	}
}

// listenHTTP opens the listeners for HTTP devices, the REST API and the page. serveHTTP serves it
// when all that the page shows is set.
func (g *gateway) listenHTTP() error {
	c := &g.config.HTTP
	if c.Listen == "" && c.TLS.Listen == "" {
		return nil
	}
	if c.Listen != "" {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return doctor.Closed("http.listen", c.Listen, err)
		}
		g.ports.web, g.ports.http = l, l.Addr().String()
	}
	if c.TLS.Listen != "" {
		pair, err := g.openPair("http.tls", &c.TLS)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", c.TLS.Listen)
		if err != nil {
			return doctor.Closed("http.tls.listen", c.TLS.Listen, err)
		}
		g.ports.webTLS, g.ports.httpTLS = tls.NewListener(l, device.WebTLSConfig(pair.Get)), l.Addr().String()
	}
	page := status.Handler(status.Source{
		Snapshot: g.snapshot, Turning: g.agent.Turning, Events: g.events(), Devices: g.devices(), Rules: g.rulesReport,
		Dead: holder{g.agent.DeadLetters(), g}, Login: g.login(), Stopping: g.ports.stopping, BugReport: g.bugreport,
		History: func(b []byte, n int) []byte { return g.minutes.Append(b, n, g.now()) },
	})
	devices := device.NewHTTP(g.doors, g.config.HTTP.MaxBody)
	g.ports.server = device.NewServer(route(devices, g.rest, page), g.log)
	return nil
}

func (g *gateway) serveHTTP() error {
	for _, l := range []net.Listener{g.ports.web, g.ports.webTLS} {
		if l != nil {
			go func() { g.ports.failed <- g.ports.server.Serve(g.doors.ListenWeb(l)) }()
		}
	}
	return nil
}

// route gives the device API to devices, the rest of the API to the REST API, and what is left to
// the page. It is no ServeMux, which would redirect requests with unusual tokens.
func route(devices, api, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/api/v1/"):
			devices.ServeHTTP(w, r)
		case path == "/api/edge/events" && r.URL.Query().Has("pageSize"): // in ThingsBoard's form
			api.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/api/") && path != "/api/edge/status" && path != "/api/edge/events" &&
			path != "/api/edge/rules" && !strings.HasPrefix(path, "/api/edgesync/"):
			api.ServeHTTP(w, r)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// login says who may see on the page what devices send.
func (g *gateway) login() *status.Login {
	return &status.Login{
		Secure: device.Secure, HTTPS: g.ports.httpTLS,
		Overheard: func(r *http.Request) bool { return rest.Overheard(r, device.Secure(r)) },
		User: func(r *http.Request) (u status.User, ok bool) {
			v, ok := g.rest.Visitor(r)
			return status.User{Name: v.Name, Admin: v.Admin, Sees: v.Sees}, ok
		},
	}
}

// events is where the page looks for the queue's events.
func (g *gateway) events() *status.Events {
	return &status.Events{Queue: g.queueDir(), Dead: g.dead.Has, Former: g.former.Keeps, Name: func(id proto.UUID) string {
		d, _ := g.registry.ByID(id)
		return d.Name
	}}
}

// devices is where people look for devices.
func (g *gateway) devices() *status.Devices {
	return &status.Devices{
		Each: g.registry.Each, ByID: g.registry.ByID, Seen: g.seen, Session: g.doors.Session, Values: g.latest.Each,
		Refusals: g.doors.Refusals(),
	}
}

// listenSock serves agent.sock, by which the other commands ask this agent. An agent without it
// runs.
func (g *gateway) listenSock() error {
	sock, err := status.Serve(g.dir.Path, g.snapshot, holder{g.agent.DeadLetters(), g}, g.devices())
	if err != nil {
		g.warn(err.Error() + "; edgesync status cannot ask this agent")
		return nil
	}
	g.opened(sock.Close)
	return nil
}

// holder is what agent.sock asks the agent for: dead letters, the rule chains, to write nothing for
// a while, and what control.go adds.
type holder struct {
	agent.Dead
	g *gateway
}

// RuleChains implements status.Ruled.
func (h holder) RuleChains() []byte { return h.g.rulesReport(true) }

// Hold stops first the loop, which alone writes dead letters and what has left the queue, then
// those who change the registry, then the queue, and what rules keep.
func (h holder) Hold(ctx context.Context, fn func()) error {
	return h.g.agent.Hold(ctx, func() { h.g.registry.Hold(func() { h.g.queue.Hold(func() { h.g.rules.Hold(fn) }) }) })
}

// stop closes the ports. Requests that run get so long for their answers.
func (p *ports) stop(patience time.Duration) {
	grace, release := context.WithTimeout(context.Background(), patience)
	defer release()
	close(p.stopping)
	closed := make(chan struct{})
	go func() { // beside HTTP: both may have to wait for devices, and stopLimit is for all
		_ = p.door.Close()
		close(closed)
	}()
	if p.server.Shutdown(grace) != nil {
		_ = p.server.Close() // a device that still sends is cut off, and was not answered "accepted"
	}
	<-closed
}
