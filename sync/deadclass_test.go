package sync

import (
	"testing"

	"edgesync/proto"
	"edgesync/wal"
)

// What can never be sent, refused creations with what waits behind them, and the rest have shares
// of the dead-letter log of their own.
func TestDeadLettersHaveClasses(t *testing.T) {
	here, other := proto.UUID{1}, proto.UUID{2}
	l := &loop{dependents: newDependents()}
	l.dependents.refused(here, 5)
	for _, tt := range []struct {
		action proto.Action
		kind   proto.Kind
		entity proto.UUID
		offset uint64
		want   wal.DeadClass
	}{
		{proto.ActionClaim, proto.KindEntityData, other, 9, wal.DeadNever},
		{proto.ActionClaim, proto.KindEntityData, here, 9, wal.DeadNever},
		{proto.ActionTimeseriesDeleted, proto.KindEntityData, other, 9, wal.DeadNever},
		{proto.ActionTimeseriesUpdated, proto.KindEntityData, other, 9, wal.DeadRefused},
		{proto.ActionTimeseriesUpdated, proto.KindEntityData, here, 9, wal.DeadCreation},
		{proto.ActionTimeseriesUpdated, proto.KindEntityData, here, 4, wal.DeadRefused},
		{proto.ActionAdded, proto.KindDevice, other, 9, wal.DeadCreation},
	} {
		e := wal.Event{Kind: uint8(tt.kind), Action: uint8(tt.action), Entity: tt.entity}
		if got := l.deadClass(&e, tt.offset); got != tt.want {
			t.Errorf("%v of %v at %d: %v, want %v", tt.action, tt.entity, tt.offset, got, tt.want)
		}
	}
}
