package calls

import (
	"errors"
	"testing"
	"time"

	"edgesync/proto"
)

// A call that a rule chain makes goes through the table like others, and its answer, or its end,
// comes back to who made it. What a chain changes of a call reaches the device.
func TestCallsOfRuleChains(t *testing.T) {
	a := NewTable(Store{})
	device := proto.UUID{7}
	type end struct{ response, word string }
	var ends []end
	start := func(oneway bool, expires time.Time) error {
		return a.Start(device, "set", `{"a":1}`, oneway, expires, func(response, word string) { ends = append(ends, end{response, word}) })
	}
	now := time.Now()
	for _, oneway := range []bool{false, true, false} {
		if err := start(oneway, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	list := a.Pending(device)
	if len(list) != 3 || !list[0].Direct || list[0].Params != `{"a":1}` {
		t.Fatalf("%+v", list)
	}
	a.Amend(device, list[0].ID, "reset", `"now"`)
	a.Amend(device, 1<<30, "nobody's", "")
	if c := a.Pending(device)[0]; c.Method != "reset" || c.Params != `"now"` {
		t.Errorf("%+v", c)
	}
	a.Answer(device, list[0].ID, `{"ok":true}`)
	a.Delivered(device, list[1].ID)
	a.Expire(now.Add(2 * time.Hour))
	want := []end{{`{"ok":true}`, ""}, {"{}", ""}, {"", TimedOut}}
	if len(ends) != 3 || ends[0] != want[0] || ends[1] != want[1] || ends[2] != want[2] {
		t.Errorf("%+v, want %+v", ends, want)
	}
	if a.count != 0 || a.texts != 0 || len(a.answers) != 0 {
		t.Errorf("%d calls of %d bytes, %d answers for the cloud", a.count, a.texts, len(a.answers))
	}
	for range MaxOfDevice {
		_ = start(false, now.Add(time.Hour))
	}
	if err := start(false, now.Add(time.Hour)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}
