package rules

import (
	"encoding/binary"

	"edgesync/proto"
)

// Journal keeps what nodes hold, so that it survives a restart (doc.go has the form of records).
// The engine calls it with locks held. What Keep and Forget were told counts in this order, and
// need not be durable before who called Handle is told so. Snapshot of an engine is all records
// that were kept and not forgotten.
type Journal interface {
	// Keep stores a record, in place of one with the same key.
	Keep(key string, record []byte) error
	// Forget removes a record.
	Forget(key string) error
	// Window puts a record behind the others of the log of windows (WindowLog): one that a message
	// waits, or, as Forget, that some wait no longer (WindowGone). The record is the caller's.
	Window(kind uint8, record []byte) error
	// Note takes a change of what a node remembers, to be staged (Note.Stage) once what came of the
	// message is durable. It is to survive the process, and to be durable with the next record.
	Note(n *Note)
}

// recordKey is the key of a message that a node holds.
//
//go:noinline
func (n *node) recordKey(m *Message) string {
	f := frame{n.chain.id, n.key}
	return string(binary.BigEndian.AppendUint32(f.key(nil), m.seq))
}

// recordForm is the first byte of each record.
const recordForm = 1

var errRecord = errorText("a record of a message that waits is damaged")

//go:noinline
func addNumber(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

//go:noinline
func addSigned(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

//go:noinline
func addField(b []byte, s string) []byte { return addText(addNumber(b, uint64(len(s))), s) }

// record is a message as bytes.
func (m *Message) record() []byte {
	b := addByte(nil, recordForm)
	b = addField(b, m.Type)
	b = addField(b, m.Originator.Type)
	b = addText(b, string(m.Originator.ID[:]))
	b = addSigned(b, m.Time)
	b = addSigned(b, m.stored)
	b = addNumber(b, uint64(m.count))
	flags := byte(0)
	if m.pushed || m.from != nil && m.from.pushed {
		flags = 1
	}
	return addField(m.addLists(addByte(b, flags)), m.Data)
}

// addLists adds the metadata, and the calls of chains.
func (m *Message) addLists(b []byte) []byte {
	b = addNumber(b, uint64(len(m.Metadata)))
	for i := range m.Metadata {
		b = addField(b, m.Metadata[i].Key)
		b = addField(b, m.Metadata[i].Value)
	}
	b = addNumber(b, uint64(len(m.stack)))
	for i := range m.stack {
		b = m.stack[i].key(b)
	}
	return b
}

// key is a chain and a node as bytes.
func (f *frame) key(b []byte) []byte {
	return binary.BigEndian.AppendUint64(addText(b, string(f.chain[:])), f.node)
}

// frameOf are the chain and the node of a key.
func frameOf(key string) (chain proto.UUID, node uint64) {
	copy(chain[:], key)
	return chain, binary.BigEndian.Uint64([]byte(key[16:24]))
}

// records reads a record.
type records struct {
	b   []byte
	bad bool
}

//go:noinline
func (r *records) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return make([]byte, min(n, 32))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *records) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *records) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *records) text() string {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	return string(r.take(n))
}

func readRecord(b []byte) (*Message, error) {
	r := records{b: b}
	if form := r.take(1); form[0] != recordForm {
		return nil, errRecord
	}
	m := &Message{Type: r.text(), owned: true}
	m.Originator.Type = r.text()
	copy(m.Originator.ID[:], r.take(16))
	m.Time, m.stored, m.count = r.signed(), r.signed(), int32(r.number()&0xffff)
	m.pushed = r.take(1)[0]&1 != 0
	r.lists(m)
	if m.Data = r.text(); r.bad || len(r.b) > 0 {
		return nil, errRecord
	}
	return m, nil
}

func (r *records) lists(m *Message) {
	for n := r.number(); n > 0 && !r.bad; n-- {
		m.Metadata = addPair(m.Metadata, r.text(), r.text())
	}
	for n := r.number(); n > 0 && !r.bad && len(m.stack) < maxStack; n-- {
		f := frame{}
		copy(f.chain[:], r.take(16))
		f.node = binary.BigEndian.Uint64(r.take(8))
		m.stack = append(m.stack, f)
	}
}

// Restore brings back a record of the journal, once the chains are there, in the order of the
// keys. What cannot go back into its node is pushed as it is, and forgotten. An error is a record
// that is damaged.
func (e *Engine) Restore(key string, record []byte) error {
	if len(key) > 40 {
		return e.restoreCell(key, record)
	}
	m, err := readRecord(record)
	if err != nil || len(key) != 28 {
		return errRecord
	}
	id, node := frameOf(key)
	m.seq = binary.BigEndian.Uint32([]byte(key[24:]))
	pushed := m.pushed
	m.pushed = false
	m.from = &origin{raw: []*Message{m.copyOf()}, live: 1, pushed: pushed}
	e.mu.RLock()
	defer e.mu.RUnlock()
	lock(&e.tick)
	e.seq = max(e.seq, m.seq)
	unlock(&e.tick)
	count(&e.sums.received)
	e.sums.held.Add(1)
	e.sums.heldBytes.Add(m.size())
	if c := e.chains[id]; c != nil {
		n := c.byKey(node)
		var w holding
		if n != nil {
			w, _ = n.work.(holding)
		}
		if w != nil {
			if w.again(e, n, m); n.typ == windowType && e.opt.Journal != nil { // as older releases kept it; now it is in the log
				e.unhold(nil, nil, m)
				return e.opt.Journal.Forget(key)
			}
			return nil
		}
	}
	s := e.shard(&m.Originator)
	lock(s)
	defer unlock(s)
	e.unhold(nil, nil, m)
	count(&e.sums.filtered)
	if !pushed {
		r := e.round(nil)
		r.save(m.from.raw, Vanished)
		r.count()
	}
	if j := e.opt.Journal; j != nil {
		return j.Forget(key)
	}
	return nil
}
