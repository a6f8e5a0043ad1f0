package sync

import (
	"context"
	"errors"
	"time"

	"edgesync/sync/config"
)

// What people order beside what becomes of dead letters. The methods may be called from any
// goroutine; the loop carries them out, or they return ErrBusy.

var (
	errAsked = errors.New("a person asked for a new connection")
	// ErrNoLink: there is no session in which to ask for a sync.
	ErrNoLink = errors.New("there is no link to the cloud; it syncs by itself when it connects")
	// ErrSyncRuns: one is under way.
	ErrSyncRuns = errors.New("a sync is under way")
)

// Reconnect ends the session, if there is one, and dials at once.
func (a *Agent) Reconnect(ctx context.Context) error {
	return a.carryOut(ctx, func(l *loop, now time.Time) {
		if l.conn.sess != nil {
			l.ended(errAsked, now)
		}
		l.dialNow()
	})
}

// dialNow cuts the wait for the next attempt short.
func (l *loop) dialNow() {
	if l.conn.sess == nil && !l.dialing.running {
		l.dialing.next = time.Time{}
	}
}

// Sync asks the cloud for what belongs to this edge, with full for everything; as at a connect, but
// that nothing is removed for not coming: what goes while we are connected is told. Errors are
// ErrNoLink and ErrSyncRuns.
func (a *Agent) Sync(ctx context.Context, full bool) (err error) {
	busy := a.carryOut(ctx, func(l *loop, now time.Time) {
		switch {
		case l.conn.sess == nil:
			err = ErrNoLink
		case l.syncing.running:
			err = ErrSyncRuns
		default:
			l.askSync(full, false, now)
			l.reg.RemoveNothing()
		}
	})
	return errors.Join(busy, err)
}

// Reload puts the keys of c in force that can change while the agent runs: those of batch, retry
// and reconnect, queue.flash_budget and queue.max_delay.
func (a *Agent) Reload(ctx context.Context, c *config.Config) error {
	return a.carryOut(ctx, func(l *loop, _ time.Time) {
		l.cfg.Batch, l.cfg.Retry, l.cfg.Reconnect = c.Batch, c.Retry, c.Reconnect
		l.dialing.reconnect.min, l.dialing.reconnect.max = c.Reconnect.Interval, c.Reconnect.MaxInterval
		l.dialing.reconnect.next = min(l.dialing.reconnect.next, c.Reconnect.MaxInterval)
		l.queue.SetBudget(c.Queue.FlashBudget, c.Queue.MaxDelay)
	})
}
