package registry

import (
	"path/filepath"
	"syscall"

	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// The registry's room is a share of what is free on the medium when it is opened, and has parts, so
// that nobody who writes much keeps the cloud's word on credentials out:
//
//	0 ──────────── 6/8 ─── 7/8 ──── 1
//	│ all records  │ making │ reserve │
//	│ ≤ 1/4 │
//
// The reserve is for credentials, users and device profiles of the cloud, the part before it for
// devices that are made here, the quarter at the beginning is what client attributes may take.
// Bytes and records have the same parts. A replacement counts the difference, so one that is not
// longer is always taken.
const (
	minLive      = 2 << 20 // bytes on the smallest medium
	freeShare    = 8       // the room is this part of what is free: a compaction needs as much again
	reserveShare = 8       // this part of the room is the reserve; as much is left to devices made here
	deviceShare  = 4       // this part of the room may hold what devices write of themselves
	// maxCreations bounds the devices that were made here and that the cloud does not know yet;
	// each has three records.
	maxCreations = maxRecords / 2 / 3
)

// use is what records take.
type use struct {
	bytes   int64
	records int
}

func (u *use) add(bytes int64, records int) {
	u.bytes += bytes
	u.records += records
}

// room counts what the records take, those that are staged included. The holder of write owns it.
type room struct {
	most       int64 // bytes of all records
	all        use
	byDevices  use  // client attributes
	unreserved use  // all that may not use the reserve
	making     bool // a device is being made here
}

// shareOf is the room in bytes where so many bytes are free.
func shareOf(free int64) int64 { return min(max(free/freeShare, minLive), maxLive) }

// freeFor is what the registry in dir could use: free bytes and those that its store has already.
func freeFor(dir string) int64 {
	free, ok := freeOn(dir)
	if !ok {
		return 0
	}
	var file syscall.Stat_t
	if syscall.Stat(filepath.Join(dir, "store"), &file) == nil {
		free += file.Size
	}
	return free
}

// freeOn is how many bytes are free on the medium of a directory; false where nobody knows.
func freeOn(dir string) (bytes int64, ok bool) {
	var st syscall.Statfs_t
	if disk.Retry(func() error { return syscall.Statfs(dir, &st) }) != nil {
		return 0, false
	}
	return int64(min(st.Bavail, 1<<40/uint64(max(st.Bsize, 1)))) * int64(st.Bsize), true
}

func reserved(key string) bool {
	switch key[0] {
	case deviceCredentials.letter, users.letter, userCredentials.letter, deviceProfiles.letter:
		return true
	case keyEdge[0], keySecret[0], keySynced[0]:
		return len(key) == 1
	}
	return false
}

func byDevices(key string) bool {
	return key[0] == attributes.letter && len(key) > 1 && key[1] == '0'+byte(ClientScope)
}

// count notes that a record takes so many bytes more, and so many records.
func (m *room) count(key string, bytes int64, records int) {
	m.all.add(bytes, records)
	if !reserved(key) {
		m.unreserved.add(bytes, records)
	}
	if byDevices(key) {
		m.byDevices.add(bytes, records)
	}
}

// has reports whether there is room for a record that takes so many bytes more, and so many
// records.
func (m *room) has(key string, bytes int64, records int) bool {
	fits := func(u use, part, of int64) bool {
		return u.bytes+bytes <= m.most/of*part && int64(u.records+records) <= maxRecords/of*part
	}
	parts := int64(reserveShare - 2)
	if m.making {
		parts++
	}
	return bytes <= 0 && records <= 0 || fits(m.all, 1, 1) &&
		(reserved(key) || fits(m.unreserved, parts, reserveShare)) &&
		(!byDevices(key) || fits(m.byDevices, 1, deviceShare))
}

// grows is by how much the records grow when key gets value; nil deletes.
func (r *Registry) grows(key string, value []byte) (bytes int64, records int) {
	if value != nil {
		bytes, records = store.PutSize(len(key), len(value)), 1
	}
	old, staged := r.staged[key]
	switch {
	case staged && old != nil:
		return bytes - store.PutSize(len(key), len(old)), records - 1
	case !staged && r.store.Has(key):
		return bytes - store.PutSize(len(key), r.store.ValueLen(key)), records - 1
	}
	return bytes, records
}

// countStored counts what the store holds, and notes which records of attributes there are.
func (r *Registry) countStored() {
	for _, key := range r.store.Keys("") {
		r.room.count(key, store.PutSize(len(key), r.store.ValueLen(key)), 1)
		if furtherRecord(key) {
			first := key[:firstRecordLen]
			r.further[first] = append(r.further[first], key) // the keys come sorted
		}
	}
}
