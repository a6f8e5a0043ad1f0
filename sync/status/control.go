package status

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	agent "edgesync/sync"
)

// Requests that are about the agent as a whole.
const (
	doReconnect = "reconnect"
	doSync      = "sync"
	doLevel     = "log_level"
	doLog       = "log"

	doReplay     = "replay"
	doReplayStop = "replay_stop"
)

// Control is what a person can order of a running agent. What is handed to Serve as Dead may
// implement it too.
type Control interface {
	Reconnect(ctx context.Context) error
	Sync(ctx context.Context, full bool) error
	SetLogLevel(level string) error
	LastLog() string // the last lines of the log, at most 32 KiB
	Replay(ctx context.Context, o agent.ReplayOrder) error
	StopReplay(ctx context.Context) error
}

func controls(do string) bool {
	return do == doReconnect || do == doSync || do == doLevel || do == doLog || do == doReplay || do == doReplayStop
}

func control(ctx context.Context, c Control, r *Request) (text string, err error) {
	switch r.Do {
	case doReconnect:
		err = c.Reconnect(ctx)
	case doSync:
		err = c.Sync(ctx, r.All)
	case doLevel:
		err = c.SetLogLevel(r.Level)
	case doReplay:
		err = c.Replay(ctx, *r.Replay)
	case doReplayStop:
		err = c.StopReplay(ctx)
	default:
		text = c.LastLog()
	}
	return text, err
}

// Reconnect asks the agent that runs on dataDir for a new connection to the cloud, or returns
// ErrNoAgent.
func Reconnect(dataDir string) error {
	_, err := Ask(dataDir, Request{Do: doReconnect})
	return err
}

// Sync asks it for a sync with the cloud, with full for everything.
func Sync(dataDir string, full bool) error {
	_, err := Ask(dataDir, Request{Do: doSync, All: full})
	return err
}

// SetLogLevel asks it to log from another level on.
func SetLogLevel(dataDir, level string) error {
	_, err := Ask(dataDir, Request{Do: doLevel, Level: level})
	return err
}

// Replay asks it to send acknowledged events again.
func Replay(dataDir string, o agent.ReplayOrder) error {
	_, err := Ask(dataDir, Request{Do: doReplay, Replay: &o})
	return err
}

// StopReplay asks it to end the replay that runs.
func StopReplay(dataDir string) error {
	_, err := Ask(dataDir, Request{Do: doReplayStop})
	return err
}

// LastLog asks it for the last lines of its log.
func LastLog(dataDir string) (string, error) {
	a, err := Ask(dataDir, Request{Do: doLog})
	return a.Text, err
}

// reportLimit is what a bug report may take: package doctor takes most of it.
const reportLimit = 90 * time.Second

// reporting is set while a bug report is made: one at a time.
var reporting atomic.Bool

// serveBugReport answers with a bug report.
func serveBugReport(w http.ResponseWriter, r *http.Request, src Source) {
	switch {
	case r.Method == http.MethodHead:
		return
	case !reporting.CompareAndSwap(false, true):
		w.Header().Set("Retry-After", "30")
		http.Error(w, "a report is being made", http.StatusServiceUnavailable)
		return
	}
	defer reporting.Store(false)
	ctx, cancel := context.WithTimeout(r.Context(), reportLimit)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reportLimit))
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", `attachment; filename="edgesync-bugreport.tar.gz"`)
	if src.BugReport(ctx, w) != nil {
		panic(http.ErrAbortHandler) // what has come is not to be taken for the whole
	}
}
