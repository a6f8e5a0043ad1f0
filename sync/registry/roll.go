package registry

import (
	"bytes"
	"sort"
)

// roll is the list of the records that are here when a sync begins, with a mark for each that the
// sync has brought since. What comes new is not in it: nothing has to be known of it at the end. So
// a sync of any length takes 17 bytes and a bit for each record that was here, at most 1.1 MiB.
type roll struct {
	ids    []recordID // sorted
	marks  []uint64   // a bit for each
	unsure bool       // not all that the sync sent could be taken
	keep   bool       // nothing is to be removed
}

func newRoll(ids []recordID) *roll {
	// An instance of slices.SortFunc would be 14 kB more of code on MIPS, for once a sync.
	sort.Slice(ids, func(i, j int) bool { return bytes.Compare(ids[i][:], ids[j][:]) < 0 })
	return &roll{ids: ids, marks: make([]uint64, (len(ids)+63)/64)}
}

func (o *roll) find(id recordID) (at int, ok bool) {
	return sort.Find(len(o.ids), func(i int) int { return bytes.Compare(id[:], o.ids[i][:]) })
}

// mark notes that the sync brought a record.
func (o *roll) mark(id recordID) {
	if at, ok := o.find(id); ok {
		o.marks[at/64] |= 1 << (at % 64)
	}
}

// missing reports whether a record was here when the sync began, and the sync did not bring it.
func (o *roll) missing(id recordID) bool {
	at, ok := o.find(id)
	return ok && o.marks[at/64]&(1<<(at%64)) == 0
}
