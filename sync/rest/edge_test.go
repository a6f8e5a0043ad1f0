package rest

import (
	"testing"

	"edgesync/proto"
)

// ThingsBoard's createdTime is the time in the id.
func TestMadeAt(t *testing.T) {
	for text, want := range map[string]int64{
		"8eee4ac0-e774-11f1-a01d-1d06ed9e169e": 1795462322540, // as a server answered
		"784f394c-42b6-435a-983c-b7beff2784f9": 0,
	} {
		id, _ := proto.ParseUUID(text)
		if got := madeAt(id); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
