package sync

import (
	"edgesync/proto"
)

// Registry is what the loop needs of sync/registry. The loop's goroutine alone calls these methods.
type Registry interface {
	// Apply stages what m brings; used tells whether any part of it was understood and kept.
	// An error means that it could not be stored (the medium); m may then be applied again later.
	Apply(m *proto.DownlinkMsg) (used bool, err error)
	// Flush makes everything staged durable: one fsync for all of it.
	Flush() error
	// BeginSync and EndSync bracket a sync. What was not seen between is no longer ours and is removed (wire contract 3.5);
	// EndSync tells how many devices that were, makes it durable and remembers that a sync has completed.
	BeginSync()
	EndSync() (removed int, err error)
	// AbortSync forgets that a sync began: the link was lost before its end.
	AbortSync()
	// Synced tells whether a sync has completed once for this edge, now or in an earlier life; first full sync included.
	Synced() bool
	// SetEdge stores who we are, durably. A different edge id than before makes Synced false and wipes what the old edge had.
	SetEdge(c *proto.EdgeConfiguration) error
	// Edge is the last stored configuration; nil if none. The secret in it is the one to use while
	// configuredSecret is unchanged since it was stored; otherwise Secret returns configuredSecret.
	Edge() *proto.EdgeConfiguration
	Secret(configuredSecret string) string
	// Devices counts the devices.
	Devices() int
}
