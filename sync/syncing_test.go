package sync

import (
	"testing"

	"edgesync/proto"
)

// The part of a message that status names is always the first in the order of the definition.
func TestFirstPart(t *testing.T) {
	d := &proto.DownlinkMsg{
		DownlinkMsgId:       1,
		WidgetTypeUpdateMsg: []*proto.WidgetTypeUpdateMsg{{}},
		DeviceUpdateMsg:     []*proto.DeviceUpdateMsg{{}},
		RelationUpdateMsg:   []*proto.RelationUpdateMsg{{}},
		AssetUpdateMsg:      []*proto.AssetUpdateMsg{{}},
	}
	for range 100 {
		if got := firstPart(d); got != "devices" {
			t.Fatalf("the first part is %q", got)
		}
	}
	if got := firstPart(&proto.DownlinkMsg{DownlinkMsgId: 1}); got != "" {
		t.Errorf("the first part of nothing is %q", got)
	}
}
