package registry

import (
	"bytes"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
)

// The attributes of one entity and scope stand on flash in records, so that a change of one
// attribute writes its record and not all that the entity has. Each record holds a range of names:
//
//	@ scope id            the names up to the next record's
//	@ scope id "hum"      the names from "hum" on
//	@ scope id "temp"     the names from "temp" on
//
// A record of more than attributeRecord bytes is split when one of its values is written; a value
// that is larger stands alone. A store of a time when the first record held all is read as it is,
// and split where it changes. Memory holds which records there are beside the first; few entities
// have more than that one.
//
// A value outside its record's range does not count. It can be there when the medium has lost the
// write that split the record, so that the record from before counts again.

// attributeRecord bounds in bytes a record of more than one value. It is a quarter of what a medium
// writes at least (disk.Block), and large enough that the records of a full registry stay within
// maxRecords and its keys within the memory for them.
const attributeRecord = 1 << 10

const firstRecordLen = 2 + 16 // of the key of a first record, which the others' begin with

// attribute is one value with the time of its writer, in milliseconds since the Unix epoch.
type attribute struct {
	ts int64
	kv proto.KV
}

func decodeAttributes(b []byte) (list []attribute, ok bool) {
	for len(b) > 0 {
		item, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return list, false
		}
		b = b[n:]
		ts, n := protowire.ConsumeVarint(item)
		if n < 0 {
			return list, false
		}
		kv, ok := proto.ParseKV(item[n:])
		if !ok {
			return list, false
		}
		list = append(list, attribute{protowire.DecodeZigZag(ts), kv})
	}
	return list, true
}

func encodeAttributes(list []attribute) []byte {
	var b, item []byte
	for i := range list {
		b, item = list[i].append(b, item)
	}
	return b
}

// append appends the attribute as a record holds it; item is a buffer.
func (a *attribute) append(b, item []byte) (record, buffer []byte) {
	item = protowire.AppendVarint(item[:0], protowire.EncodeZigZag(a.ts))
	item = proto.AppendKV(item, &a.kv)
	return protowire.AppendBytes(b, item), item
}

func byKey(a attribute, key []byte) int { return bytes.Compare(a.kv.Key, key) }

// furtherRecord reports whether key is that of a record of attributes beside the first.
func furtherRecord(key string) bool { return len(key) > firstRecordLen && key[0] == attributes.letter }

// noteRecord keeps the list of an entity's further records. The lists are replaced and never
// changed, because readers hold them. The caller holds mu.
func (r *Registry) noteRecord(key string, there bool) {
	first := key[:firstRecordLen]
	list := r.further[first]
	at, known := slices.BinarySearch(list, key)
	switch {
	case there && !known:
		r.further[first] = slices.Concat(list[:at], []string{key}, list[at:])
	case !there && known && len(list) == 1:
		delete(r.further, first)
	case !there && known:
		r.further[first] = slices.Concat(list[:at], list[at+1:])
	}
}

// attributeSet is the attributes of one entity and scope, of which as many records are read as are
// asked for. It is used by one goroutine.
type attributeSet struct {
	r       *Registry
	first   string // key of the first record
	further []string
	read    []attributeRange
}

// attributeRange is a record that was read.
type attributeRange struct {
	at      int // 0: the first record
	list    []attribute
	changed bool
	grown   bool // a name was added
}

// attributesOf begins to read the attributes of an entity and scope. Any goroutine.
func (r *Registry) attributesOf(id proto.UUID, scope Scope) attributeSet {
	first := attributeKey(scope, id)
	r.mu.RLock()
	defer r.mu.RUnlock()
	return attributeSet{r: r, first: first, further: r.further[first]}
}

// current reports whether the records are still those that there were when the reading began.
// Otherwise a value may have moved to a record that was not read.
func (s *attributeSet) current() bool {
	s.r.mu.RLock()
	defer s.r.mu.RUnlock()
	now := s.r.further[s.first]
	return len(now) == len(s.further) && (len(now) == 0 || &now[0] == &s.further[0])
}

// records is how many records there are, the first counted even if it is empty.
func (s *attributeSet) records() int { return 1 + len(s.further) }

// key is the key of a record.
func (s *attributeSet) key(at int) string {
	if at == 0 {
		return s.first
	}
	return s.further[at-1]
}

// from is the name at which the range of a record begins.
func (s *attributeSet) from(at int) string { return s.key(at)[firstRecordLen:] }

// record reads a record, if that has not been done. The result holds until the next call.
func (s *attributeSet) record(at int) *attributeRange {
	for i := range s.read {
		if s.read[i].at == at {
			return &s.read[i]
		}
	}
	value, _ := s.r.get(s.key(at))
	list, _ := decodeAttributes(value) // what is damaged is left out
	list = slices.DeleteFunc(list, func(a attribute) bool {
		return string(a.kv.Key) < s.from(at) || at < len(s.further) && string(a.kv.Key) >= s.from(at+1)
	})
	s.read = append(s.read, attributeRange{at: at, list: list})
	return &s.read[len(s.read)-1]
}

// place says in which record's range a name is.
func (s *attributeSet) place(name []byte) int {
	at, found := slices.BinarySearchFunc(s.further, name, func(key string, name []byte) int {
		return strings.Compare(key[firstRecordLen:], string(name))
	})
	if found {
		at++
	}
	return at
}

// holder reads the record whose range a name is in.
func (s *attributeSet) holder(name []byte) *attributeRange { return s.record(s.place(name)) }

// find is the attribute of a name, nil if there is none.
func (s *attributeSet) find(name []byte) *attribute {
	h := s.holder(name)
	if at, ok := slices.BinarySearchFunc(h.list, name, byKey); ok {
		return &h.list[at]
	}
	return nil
}

// forget drops what was read, all but the record at that place.
func (s *attributeSet) forget(but int) {
	s.read = slices.DeleteFunc(s.read, func(h attributeRange) bool { return h.at != but })
}

// put stages the records that have changed, all or none. errFull means that there is no room, or
// that the entity would have more than it may.
func (s *attributeSet) put() error {
	changes, size := s.changes(true)
	if len(changes) == 0 {
		return nil
	}
	if !s.bounded(size) {
		return errFull
	}
	if !s.r.fits(changes) {
		// A value of the same length must find room, even where the split would not.
		if changes, _ = s.changes(false); len(changes) > 0 && !s.r.fits(changes) {
			return s.r.full()
		}
	}
	return s.r.stageAll(changes)
}

// bounded reports whether the entity and scope stay within their bounds, the changed records having
// so many bytes. Names are counted only if there are new ones.
func (s *attributeSet) bounded(size int) bool {
	names := 0
	grown := slices.ContainsFunc(s.read, func(h attributeRange) bool { return h.grown })
	for at := range s.records() {
		i := slices.IndexFunc(s.read, func(h attributeRange) bool { return h.at == at })
		changed := i >= 0 && s.read[i].changed
		if !changed {
			size += s.r.valueLen(s.key(at))
		}
		switch {
		case i >= 0:
			names += len(s.read[i].list)
		case grown:
			value, _ := s.r.get(s.key(at))
			list, _ := decodeAttributes(value)
			names += len(list)
		}
	}
	return names <= maxAttributeKeys && size <= maxAttributeRecord
}

// staging is a change of one record; a nil value deletes.
type staging struct {
	key   string
	value []byte
}

// changes are what makes the changed records durable, split or each as one, and how many bytes
// those take then.
func (s *attributeSet) changes(split bool) (list []staging, size int) {
	add := func(key string, value []byte) {
		size += len(value)
		if value != nil && !s.r.same(key, value) || value == nil && s.r.has(key) {
			list = append(list, staging{key, value})
		}
	}
	for i := range s.read {
		h := &s.read[i]
		if !h.changed {
			continue
		}
		value := encodeAttributes(h.list) // nil if there are none
		if !split || len(value) <= attributeRecord {
			add(s.key(h.at), value)
			continue
		}
		ends := cutRecord(h.list)
		add(s.key(h.at), encodeAttributes(h.list[:ends[0]]))
		for j, begin := range ends[:len(ends)-1] {
			key := s.first + separator(h.list[begin-1].kv.Key, h.list[begin].kv.Key)
			add(key, encodeAttributes(h.list[begin:ends[j+1]]))
		}
	}
	return list, size
}

// cutRecord says where the records end that a list of values makes: behind each large value and in
// front of it, and between them where the lengths of the records come out even.
func cutRecord(list []attribute) (ends []int) {
	sizes := make([]int, len(list))
	var b, item []byte
	for i := range list {
		b, item = list[i].append(b[:0], item)
		sizes[i] = len(b)
	}
	for begin := 0; begin < len(list); {
		end, run := begin, 0
		for end < len(list) && sizes[end] <= attributeRecord {
			run += sizes[end]
			end++
		}
		if end == begin { // a large value
			begin++
			ends = append(ends, begin)
			continue
		}
		// Three quarters full at most, so that the next value that comes does not split one again.
		const target = attributeRecord * 3 / 4
		parts := max(1, (run+target-1)/target)
		size := 0
		for i := begin; i < end; i++ {
			if size > 0 && (size+sizes[i]/2 > run/parts || size+sizes[i] > attributeRecord) {
				ends = append(ends, i)
				size = 0
			}
			size += sizes[i]
		}
		ends = append(ends, end)
		begin = end
	}
	return ends
}

// separator is the shortest text that is behind a name and not behind the next.
func separator(name, next []byte) string {
	i := 0
	for i < len(name) && name[i] == next[i] {
		i++
	}
	return string(next[:i+1])
}

// valueLen is the length in bytes of a record, staged changes included.
func (r *Registry) valueLen(key string) int {
	if v, staged := r.staged[key]; staged {
		return len(v)
	}
	return r.store.ValueLen(key)
}

// fits reports whether there is room for all of some changes of records of one kind.
func (r *Registry) fits(changes []staging) bool {
	var all use
	for _, c := range changes {
		all.add(r.grows(c.key, c.value))
	}
	return r.room.has(changes[0].key, all.bytes, all.records)
}

// sameRecords reports whether two keys are of attributes of one entity and scope.
func sameRecords(a, b string) bool {
	return furtherRecord(b) && len(a) >= firstRecordLen && a[:firstRecordLen] == b[:firstRecordLen]
}
