package sync

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/link"
)

// dialing is the attempt that runs or waits. It outlives sessions.
type dialing struct {
	running    bool
	results    chan dialResult // of size 1: one attempt at a time
	next       time.Time       // not before; zero: at once
	before     link.Session    // the last session, which may still be closing
	quickEnds  int             // in a row, see quickEnd
	configured bool            // the next attempt uses the configured secret, not the renewed one
	serverMax  int             // the limit that the last session announced
	jitter     func(time.Duration) time.Duration
	reconnect  doubling
	refusals   doubling
	timeout    doubling
}

type dialResult struct {
	sess link.Session
	err  error
}

func newDialing(c *config.Config, jitter func(time.Duration) time.Duration) dialing {
	return dialing{
		results:   make(chan dialResult, 1),
		jitter:    jitter,
		reconnect: doubling{min: c.Reconnect.Interval, max: c.Reconnect.MaxInterval},
		refusals:  doubling{min: refusedMin, max: refusedMax},
		timeout:   doubling{min: c.Cloud.Timeout, max: max(timeoutMax, c.Cloud.Timeout)},
	}
}

// maybeDial begins an attempt when it is due.
func (l *loop) maybeDial(ctx context.Context, now time.Time) {
	d := &l.dialing
	if d.running || now.Before(d.next) {
		return
	}
	d.running = true
	d.next = time.Time{}
	l.counters.attempts++
	l.enter(Reconnecting, now)
	cloud, results, before, secret, timeout := l.link, d.results, d.before, l.secret(), d.timeout.Peek()
	d.before = nil
	go func() {
		if before != nil {
			<-before.Done() // no two sessions of this edge side by side
		}
		s, err := cloud.Open(ctx, secret, timeout)
		results <- dialResult{s, err}
	}()
}

// secret is the one to connect with: the renewed one if there is one, but for a server that refused
// that and does not know it any more, as after a restore from a backup. Then both are tried in
// turn.
func (l *loop) secret() string {
	if l.dialing.configured {
		return l.cfg.Cloud.RoutingSecret
	}
	return l.reg.Secret(l.cfg.Cloud.RoutingSecret)
}

// secretRefused makes the next attempt use the other secret.
func (l *loop) secretRefused(err error) {
	var refused *link.RefusedError
	if errors.As(err, &refused) && refused.Code == proto.ConnectResponseCode_BAD_CREDENTIALS {
		l.dialing.configured = !l.dialing.configured
	}
}

// keepSecret makes the secret that was accepted the one of the next attempts, over a restart too.
func (l *loop) keepSecret(c *proto.EdgeConfiguration) *proto.EdgeConfiguration {
	if l.dialing.configured && c.GetSecret() == "" {
		c = pb.CloneOf(c)
		c.Secret = l.cfg.Cloud.RoutingSecret
	}
	l.dialing.configured = false
	return c
}

// redact removes the secrets from a text of the server, and cuts it to maxText.
func (l *loop) redact(text string) string {
	text = link.Redact(link.Redact(text, l.reg.Secret(l.cfg.Cloud.RoutingSecret)), l.cfg.Cloud.RoutingSecret)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…" // a copy, which does not keep the whole in memory
	}
	return text
}

// afterFailure is the wait after an attempt that did not reach ACCEPTED.
func (d *dialing) afterFailure(err error) time.Duration {
	var refused *link.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Code == proto.ConnectResponseCode_BAD_CREDENTIALS:
		return d.refusals.Next()
	case errors.Is(err, link.ErrTimeout):
		d.timeout.Next()
	default:
		d.timeout.Reset()
	}
	return d.jitter(d.reconnect.Next())
}

// afterEnd is the wait after a session that ended with err lived long, and the reason to report.
func (d *dialing) afterEnd(err error, lived time.Duration) (time.Duration, error) {
	switch {
	case errors.Is(err, errEdgeGone):
		return d.refusals.Next(), err
	case errors.Is(err, link.ErrCleanEnd) && lived < quickEnd:
		if d.quickEnds++; d.quickEnds >= quickEndsMax {
			d.reconnect.Top()
			return d.reconnect.Peek(), errSecondAgent
		}
	default:
		d.quickEnds = 0
	}
	return d.jitter(d.reconnect.Next()), err
}

// doubling is a duration that doubles with each Next up to a bound.
type doubling struct {
	min, max time.Duration
	next     time.Duration // 0 = min
}

// Next returns the present value and doubles it.
//
//go:noinline
func (d *doubling) Next() time.Duration {
	v := d.Peek()
	if d.next = 2 * v; d.next > d.max {
		d.next = d.max
	}
	return v
}

// Peek returns the present value.
func (d *doubling) Peek() time.Duration {
	if d.next < d.min {
		return min(d.min, d.max)
	}
	return d.next
}

// Reset makes the next value the smallest.
func (d *doubling) Reset() { d.next = 0 }

// Top makes the next value the largest.
func (d *doubling) Top() { d.next = d.max }

// fullJitter spreads reconnects of a whole fleet over the interval, so that a cloud that comes back
// is not run down.
func fullJitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d) + 1
}
