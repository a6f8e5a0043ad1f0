package rig

import (
	"fmt"
	"sync"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// Watcher is a registry.Watcher that notes what it hears. Safe for concurrent use.
type Watcher struct {
	mu              sync.Mutex
	changes, shared []string
}

// DeviceChanged notes "NAME CHANGE", the change as its number.
func (w *Watcher) DeviceChanged(d registry.Device, what registry.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, fmt.Sprintf("%s %d", d.Name, what))
}

// SharedAttributes notes "KEY=VALUE" for each attribute that was set, the value as JSON, and "-KEY"
// for each that was deleted.
func (w *Watcher) SharedAttributes(_ proto.UUID, set []proto.KV, deleted []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range set {
		w.shared = append(w.shared, string(set[i].Key)+"="+string(proto.AppendJSONValue(nil, &set[i])))
	}
	for _, k := range deleted {
		w.shared = append(w.shared, "-"+k)
	}
}

// Take returns what was noted since the last call, each list in the order of the calls.
func (w *Watcher) Take() (changes, shared []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, shared = w.changes, w.shared
	w.changes, w.shared = nil, nil
	return changes, shared
}
