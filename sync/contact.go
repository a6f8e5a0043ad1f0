package sync

import (
	"slices"
	"strings"
	"time"

	"edgesync/sync/plain"
)

// contact is what people are told of an outage: since when nothing is heard of the cloud, how often
// it was tried, and why that failed. It outlives sessions; the loop's goroutine owns it.
type contact struct {
	at       time.Time // the cloud was heard last; zero: never in this life
	attempts uint64    // counters.attempts at that time
	causes   []Cause   // since then; others read it, so it is replaced and not changed
}

// Cause is why attempts to connect have failed, or sessions have ended, since the cloud was heard
// last.
type Cause struct {
	Text  string `json:"text"` // without secrets, at most maxCause bytes
	Count uint64 `json:"count"`
	// Told: the other end has said what is wrong, or shows it. That says more than that it is
	// silent.
	Told bool `json:"told,omitempty"`
}

// MaxCauses bounds Snapshot.Causes. Beyond it the one seen longest ago is forgotten.
const MaxCauses = 8

// maxCause bounds the text of a cause in bytes.
const maxCause = 512

// heard notes that the cloud was heard: what was before is over.
func (c *contact) heard(now time.Time, attempts uint64) { *c = contact{at: now, attempts: attempts} }

// failed notes why an attempt failed or a session ended.
func (c *contact) failed(text string, told bool) {
	text = strings.Clone(plain.Cut(withoutOwnPort(text), maxCause))
	cause := Cause{Text: text, Told: told}
	causes := make([]Cause, 0, MaxCauses)
	for _, old := range c.causes {
		if old.Text == text {
			cause.Count = old.Count
		} else {
			causes = append(causes, old)
		}
	}
	if len(causes) == MaxCauses {
		causes = slices.Delete(causes, 0, 1)
	}
	cause.Count++
	c.causes = append(causes, cause)
}

// withoutOwnPort leaves out the address that the system chose for a connection, so that the same
// cause has the same text: "read tcp 10.0.0.2:51234->10.0.0.1:7070: …".
func withoutOwnPort(text string) string {
	before, after, ok := strings.Cut(text, "->")
	if !ok {
		return text
	}
	return before[:strings.LastIndexByte(before, ' ')+1] + after
}
