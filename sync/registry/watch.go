package registry

import (
	"slices"
	"sync"

	"edgesync/proto"
)

// maxUnheard bounds the notices that the watcher has not heard yet, in bytes. A writer that finds
// as many waits.
const maxUnheard = 1 << 20

// notice is one call of the watcher: what was stored, in the form in which the watcher hears it.
type notice struct {
	to      Watcher // who watched when it was stored
	device  Device
	what    Change // 0: shared attributes of the device
	set     []proto.KV
	deleted []string
}

// size is about what a notice takes of memory, in bytes.
func (n *notice) size() int {
	size := 256 + len(n.device.Name) + len(n.device.WasNamed) + len(n.device.Label)
	for i := range n.set {
		size += 96 + len(n.set[i].Key) + len(n.set[i].Str)
	}
	for _, name := range n.deleted {
		size += 16 + len(name)
	}
	return size
}

func (n *notice) deliver() {
	if n.what != 0 {
		n.to.DeviceChanged(n.device, n.what)
	} else {
		n.to.SharedAttributes(n.device.ID, n.set, n.deleted)
	}
}

// unheard is the queue of notices. A writer adds its notices before it frees Registry.write, so
// they stand in the order in which the changes were stored. The first writer that finds nobody at
// it delivers until the queue is empty, with no lock held; the others go on at once, and what they
// added is heard behind what is ahead of it. So there is one call of the watcher at a time, and no
// goroutine besides the writers'.
type unheard struct {
	mu         sync.Mutex // a leaf: no other lock is taken under it
	room       sync.Cond  // of mu: bytes has fallen below the bound
	queue      []notice
	bytes      int  // of the queue and of the notice that is being heard
	delivering bool // a writer delivers
}

// waitForRoom waits until the notices are fewer than the bound.
func (u *unheard) waitForRoom() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.bytes >= maxUnheard {
		if u.delivering {
			u.room.Wait()
			continue
		}
		u.mu.Unlock() // who delivered has panicked
		u.deliver()
		u.mu.Lock()
	}
}

func (u *unheard) full() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes >= maxUnheard
}

// add takes notices over. The caller holds Registry.write.
func (u *unheard) add(list []notice) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = append(u.queue, list...)
	for i := range list {
		u.bytes += list[i].size()
	}
}

// deliver lets the watcher hear what is in the queue, unless another writer is at it.
func (u *unheard) deliver() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.delivering {
		return
	}
	u.delivering = true
	defer func() { // also when the watcher panics
		u.delivering = false
		u.room.Broadcast()
	}()
	for len(u.queue) > 0 {
		n := u.queue[0]
		u.queue[0] = notice{}
		u.queue = u.queue[1:]
		u.deliverOne(&n)
	}
	u.queue = nil
}

// deliverOne gives mu free for one call of the watcher.
func (u *unheard) deliverOne(n *notice) {
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.bytes -= n.size()
		if u.bytes < maxUnheard {
			u.room.Broadcast()
		}
	}()
	n.deliver()
}

// Watch sets who hears of changes from now on. Any goroutine.
func (r *Registry) Watch(w Watcher) {
	r.write.Lock()
	defer r.unlock()
	r.watcher = w
}

// lock takes write for a change that the watcher may hear of, once there is room for its notices.
func (r *Registry) lock() {
	r.write.Lock()
	for r.unheard.full() {
		r.write.Unlock()
		r.unheard.waitForRoom()
		r.write.Lock()
	}
}

// unlock frees write, and lets the watcher hear of what was changed under it.
func (r *Registry) unlock() {
	if len(r.notices) == 0 {
		r.write.Unlock()
		return
	}
	r.unheard.add(r.notices)
	r.notices = nil
	r.write.Unlock()
	r.unheard.deliver()
}

// notify notes that the watcher is to hear of a device. The caller holds write.
func (r *Registry) notify(d Device, what Change) {
	if what != 0 && r.watcher != nil {
		r.notices = append(r.notices, notice{to: r.watcher, device: d, what: what})
	}
}

// notifyShared notes that the watcher is to hear of shared attributes. The values are copied, for
// the caller may use their bytes again before they are heard. The caller holds write.
func (r *Registry) notifyShared(id proto.UUID, set []proto.KV, deleted []string) {
	if r.watcher == nil {
		return
	}
	size := 0
	for i := range set {
		size += len(set[i].Key) + len(set[i].Str)
	}
	bytes := make([]byte, 0, size)
	own := func(b []byte) []byte {
		from := len(bytes)
		bytes = append(bytes, b...)
		return bytes[from:len(bytes):len(bytes)]
	}
	set = slices.Clone(set)
	for i := range set {
		set[i].Key, set[i].Str = own(set[i].Key), own(set[i].Str)
	}
	r.notices = append(r.notices, notice{to: r.watcher, device: Device{ID: id}, set: set, deleted: slices.Clone(deleted)})
}
