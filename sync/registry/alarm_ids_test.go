package registry_test

import (
	"fmt"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// The ids of alarms that the cloud has under others are remembered over a restart, and bounded.
func TestOtherIDsOfAlarmsAreBounded(t *testing.T) {
	const alarms, most = 300, 128
	dir := t.TempDir()
	r := open(t, dir)
	id := func(side byte, n int) (id proto.UUID) { id[0], id[1], id[15] = byte(n>>8), byte(n), side; return id }
	text := func(side byte, n int) string {
		return fmt.Sprintf(`{"id":{"entityType":"ALARM","id":"%s"},"type":"t%d","severity":"MAJOR","acknowledged":false,"cleared":false,`+
			`"originator":{"entityType":"DEVICE","id":"%s"}}`, proto.FormatUUID(id(side, n)), n, proto.FormatUUID(id(3, 0)))
	}
	for n := range alarms {
		if err := r.Edit(uint64(n+1), registry.Edit{Kind: proto.KindAlarm, ID: id(1, n), Text: text(1, n)}); err != nil {
			t.Fatal(err)
		}
		m := &proto.AlarmUpdateMsg{Entity: text(2, n)}
		m.IdMSB, m.IdLSB = proto.Halves(id(2, n))
		if _, err := r.Apply(&proto.DownlinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m}}); err != nil {
			t.Fatal(err)
		}
		if got := r.AlarmID(id(1, n)); got != id(2, n) {
			t.Fatalf("%d is known as %x", n, got)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	defer r.Close()
	known := 0
	for n := range alarms {
		if r.AlarmID(id(1, n)) == id(2, n) {
			known++
		}
	}
	if known > most || r.AlarmID(id(1, alarms-1)) != id(2, alarms-1) {
		t.Errorf("%d ids are remembered", known)
	}
}
