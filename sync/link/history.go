package link

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// History remembers over restarts by which ways the cloud was reached, and until when: a way that
// has worked is configured rightly. A nil *History remembers nothing. One goroutine, the loop's,
// calls its methods; Close follows when that has ended.
//
// The file "link" in the data directory:
//
//	edgesync link 1
//	until 1767225600000 "tb.example:7070" tls "" "" by "proxy.example:3128"
//	at 1767139200000 "tb.example:7070" plain
//
// "until" is the end of the last session, "at" a moment in one, in milliseconds since the epoch; 0
// is not known. The way that was used last stands first. The file is written when a way has worked
// for the first time, when one works whose end it tells, at the end of a session if it is an hour
// old, and at a stop: twice an hour at most. What a power cut leaves in it is true, and may be old.
type History struct {
	path   string
	way    string
	ways   []usedWay // at most maxWays, the newest first
	filed  string    // what the file holds
	saved  time.Time // the last write of this life
	failed string    // the last error of a write, so that it is logged once
	zone   *time.Location
	meter  disk.Meter
	log    *slog.Logger
}

// usedWay is a way that has led to a session.
type usedWay struct {
	way   string
	at    int64
	ended bool // at is the end of the session
}

const (
	// maxWays bounds the ways that are remembered.
	maxWays = 8
	// maxHistory bounds the file in bytes. A way takes at most 60 KiB: texts of configuration have
	// 4 KiB, and a quoted byte takes up to four.
	maxHistory = 512 << 10
	// saveEvery is the least time between two ends of sessions that are written.
	saveEvery     = time.Hour
	historyHeader = "edgesync link 1\n"
)

// Way names what the way to the cloud depends on: host, port, TLS and the proxy of the environment.
// It is one line without secrets.
func Way(c *config.Cloud, env func(string) string) string {
	way := strconv.Quote(net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if c.TLS.Enabled {
		way += " tls " + strconv.Quote(c.TLS.ServerName) + " " + strconv.Quote(c.TLS.CAFile)
	} else {
		way += " plain"
	}
	r, err := routeTo(env, c.Host, c.Port)
	switch {
	case err != nil:
		way += " by nothing"
	case r.proxy != nil:
		way += " by " + strconv.Quote(r.proxy.addr)
	}
	return way
}

// OpenHistory returns what the data directory dir remembers, for the way that is in use now. A file
// that is missing or damaged costs the memory, and is no error.
func OpenHistory(dir, way string, meter disk.Meter, log *slog.Logger) *History {
	h := &History{path: filepath.Join(dir, "link"), way: way, zone: time.Local, meter: meter, log: log}
	for _, path := range [...]string{h.path, h.path + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, filepath.Join(dir, "corrupt"), log); err != nil {
			log.Warn("the file of the link's history is in the way of a new one", "error", err)
		}
	}
	data, err := disk.ReadRegular(h.path, maxHistory)
	ok := false
	if err == nil {
		h.ways, ok = parseWays(string(data))
	}
	switch {
	case ok:
		h.filed = string(data)
	case !errors.Is(err, fs.ErrNotExist):
		log.Warn("the file of the link's history is damaged: whether the cloud was ever reached is not known", "file", h.path)
	}
	return h
}

// Accepted notes that the cloud has accepted a session now: at in milliseconds since the epoch, 0
// if that is not known, and now for the time between two writes.
func (h *History) Accepted(at int64, now time.Time) {
	if h == nil {
		return
	}
	known := h.use()
	first := &h.ways[0]
	if known && !first.ended {
		return
	}
	*first = usedWay{h.way, at, false}
	// Until the end of this session is written, the file must not tell that of an earlier one.
	if !strings.HasPrefix(h.filed, historyHeader+"at ") || !known {
		h.save(now)
	}
}

// Ended notes that something came from the cloud at a time for the last time.
func (h *History) Ended(at int64, now time.Time) {
	if h == nil {
		return
	}
	h.use()
	h.ways[0] = usedWay{h.way, at, true}
	if h.saved.IsZero() || now.Sub(h.saved) >= saveEvery {
		h.save(now)
	}
}

// Close writes what has not been written yet.
func (h *History) Close() {
	if h != nil && len(h.ways) > 0 {
		h.save(h.saved)
	}
}

// Past says that the way in use has worked, and until when, as seen at now in milliseconds since
// the epoch; "" if it never has.
func (h *History) Past(now int64) string {
	i := h.find()
	if i < 0 {
		return ""
	}
	w := &h.ways[i]
	if w.at == 0 {
		return "it has worked before"
	}
	form := "15:04 MST"
	t, here := time.UnixMilli(w.at).In(h.zone), time.UnixMilli(now).In(h.zone)
	if now == 0 || t.Year() != here.Year() || t.YearDay() != here.YearDay() {
		form = "2006-01-02 " + form
	}
	if w.ended {
		return "it worked until " + t.Format(form)
	}
	return "it worked at " + t.Format(form)
}

// find is the place of the way in use among the ways; -1: it has never worked.
func (h *History) find() int {
	if h != nil {
		for i := range h.ways {
			if h.ways[i].way == h.way {
				return i
			}
		}
	}
	return -1
}

// use brings the way in use to the first place, and reports whether it stood there.
func (h *History) use() bool {
	i := h.find()
	if i == 0 {
		return true
	}
	w := usedWay{way: h.way}
	if i > 0 {
		w = h.ways[i]
		h.ways = append(h.ways[:i], h.ways[i+1:]...)
	}
	h.ways = append([]usedWay{w}, h.ways[:min(len(h.ways), maxWays-1)]...)
	return false
}

// save writes the file, unless it holds the same. What cannot be written is logged once, and tried
// again when there is something new.
func (h *History) save(now time.Time) {
	text := formatWays(h.ways)
	if text == h.filed {
		return
	}
	h.saved = now
	if err := disk.Replace(h.path, []byte(text)); err != nil {
		if h.failed != err.Error() {
			h.failed = err.Error()
			h.log.Warn("the file of the link's history cannot be written", "error", err)
		}
		return
	}
	h.filed, h.failed = text, ""
	h.meter.Add(0, int64(len(text)), 2)
}

func formatWays(ways []usedWay) string {
	b := []byte(historyHeader)
	for i := range ways {
		what := "at "
		if ways[i].ended {
			what = "until "
		}
		b = strconv.AppendInt(append(b, what...), ways[i].at, 10)
		b = append(append(append(b, ' '), ways[i].way...), '\n')
	}
	return string(b)
}

// parseWays reads what formatWays wrote, and nothing else.
func parseWays(text string) (ways []usedWay, ok bool) {
	rest, ok := strings.CutPrefix(text, historyHeader)
	for ok && rest != "" {
		var line, what, at string
		line, rest, _ = strings.Cut(rest, "\n")
		what, line, _ = strings.Cut(line, " ")
		at, line, ok = strings.Cut(line, " ")
		t, err := strconv.ParseInt(at, 10, 64)
		ok = ok && err == nil && t >= 0 && t < 1<<42 && len(ways) < maxWays && (what == "at" || what == "until")
		ways = append(ways, usedWay{line, t, what == "until"})
	}
	if !ok || formatWays(ways) != text {
		return nil, false
	}
	return ways, true
}
