package status

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"edgesync/sync/minutes"
)

// lastLog is what remembers the last lines of the log, at most some 32 KiB, without secrets. What
// takes orders (Source.Dead) may be one.
type lastLog interface{ LastLog() string }

// serveLog shows administrators the last lines of the log.
func serveLog(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, going *answers) {
	l, ok := src.Dead.(lastLog)
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if _, ok := needs(w, r, src, true); ok {
		going.reply(w, r, "text/plain; charset=utf-8", []byte(l.LastLog()))
	}
}

// serveDiagnosis gives administrators the bug report of Source.BugReport; without one, as one file
// of text, what helps others to find a fault: the
// status in words and as JSON, the rule chains, the last day and the last lines of the log. None of
// it holds a secret.
func serveDiagnosis(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, going *answers) {
	if _, ok := needs(w, r, src, true); !ok {
		return
	}
	if src.BugReport != nil {
		serveBugReport(w, r, src)
		return
	}
	answer, ok := going.take(w, r, eventsAnswer)
	if !ok {
		return
	}
	s := src.Snapshot()
	cut(&s)
	var b strings.Builder
	b.WriteString("edgesync " + s.Version + ", diagnosis of " + s.At.UTC().Format("2006-01-02 15:04:05") + " UTC\n\n")
	_ = Print(&b, &s, s.At, false) // into memory
	part := func(name string, text []byte) {
		b.WriteString("\n=== " + name + "\n\n")
		b.Write(text)
	}
	report, _ := json.MarshalIndent(Report{s, Judge(&s)}, "", " ") // nothing in it can fail
	part("status", report)
	if src.Rules != nil {
		part("rule chains", src.Rules(false))
	}
	if src.History != nil {
		part("the last day", src.History(nil, minutes.Day))
	}
	if l, ok := src.Dead.(lastLog); ok {
		part("log", []byte(l.LastLog()))
	}
	w.Header().Set("Content-Disposition", `attachment; filename="edgesync-diagnosis-`+s.At.UTC().Format("20060102-150405")+`.txt"`)
	answer.send("text/plain; charset=utf-8", []byte(b.String()))
}
