package sync

import "strings"

// Texts in which the server says why it refused an uplink (CONTRACT.md 4.5). Only their beginnings
// are stable.
const (
	textRateLimit = "Rate limit reached"
	textEdgeGone  = "Can't assign device to non-existent edge!"
)

// verdict is what a refused uplink means for us.
type verdict uint8

const (
	refusedEvent    verdict = iota // something in it is refused; perhaps not the next time
	refusedHopeless                // never to be accepted: no further tries
	refusedLimit                   // too fast: slow down, nothing is wrong with the events
	refusedEdgeGone                // the edge was deleted in the cloud
)

// hopeless are the beginnings of texts that no repetition changes (CONTRACT.md 4.5, column "retry
// useful?").
var hopeless = []string{
	"No enum constant ", "Unexpected character", "Unexpected end-of-input", "No content to map", "Cannot deserialize value",
	"Unexpected IOException", "End of input at line", "Validation error", "Unsupported msg type", "Incorrect ",
	"Device should be assigned to tenant!", "Device is referencing", "Device credentials are already assigned", "Can't assign ",
	"Can't delete ", "Can't unassign ", "Dashboard title should be specified!",
	"ERROR: duplicate key value violates unique constraint", "[{",
}

// judge classifies the error text of an UplinkResponseMsg.
func judge(text string) verdict {
	switch {
	case strings.Contains(text, textRateLimit), strings.Contains(text, " rate limits reached!"):
		return refusedLimit
	case strings.HasPrefix(text, textEdgeGone):
		return refusedEdgeGone
	}
	for _, h := range hopeless {
		if strings.HasPrefix(text, h) {
			return refusedHopeless
		}
	}
	return refusedEvent
}
