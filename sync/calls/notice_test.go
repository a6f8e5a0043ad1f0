package calls

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// Notices are bounded, both those that wait and those that are remembered for the cloud's call, and
// all of them end after a day.
func TestNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := proto.UUIDOf(7, 8)
		dropped := 0
		none := func(*proto.DeviceRpcCallMsg) error { return nil }
		table := NewTable(Store{
			Keep:  none,
			Drop:  func(*proto.DeviceRpcCallMsg) error { dropped++; return nil },
			Flush: func() error { return nil },
		})
		for i := range MaxNotices {
			if !table.Notify(device, MethodDeleted, fmt.Sprintf(`"%d"`, i)) {
				t.Fatalf("notice %d is refused", i)
			}
		}
		if table.Notify(device, MethodDeleted, `"one more"`) ||
			len(table.Pending(device)) != MaxNotices || len(table.unpaired) > MaxNotices {
			t.Errorf("%d wait, %d are remembered", len(table.Pending(device)), len(table.unpaired))
		}
		time.Sleep(25 * time.Hour)
		table.Expire(time.Now())
		if len(table.finished) != MaxNotices || table.Waiting() != 0 || len(table.answers) != 0 {
			t.Errorf("after a day %d wait, %d are to be forgotten, %d answers go to the cloud",
				table.Waiting(), len(table.finished), len(table.answers))
		}
		kept, err := table.Save()
		if kept != nil || err != nil || dropped != MaxNotices || len(table.finished) != 0 {
			t.Errorf("%d forgotten, %d left: %v, %v", dropped, len(table.finished), kept, err)
		}
	})
}
