package rules

import (
	"encoding/binary"
	"math"
)

// cell is what a node remembers of one entity.
type cell struct {
	value     float64
	time      int64
	word      string
	intervals []int64
	// seq counts its changes; staged is that of the last one that the journal has.
	seq, staged uint32
	trail       Trail
}

// maxCells bounds what all nodes remember, in bytes as cost counts them.
const maxCells = 1 << 20

// cost is about how many bytes a cell takes, in memory and in the index of the journal.
//
//go:noinline
func (c *cell) cost() int64 { return 320 + 8*int64(len(c.intervals)) }

// Note is a change of what a node remembers. It is for the journal once what came with it is in the
// queue: until then a crash has the message come again, and the node is to see it as new.
type Note struct {
	mem    *memory
	c      *cell
	seq    uint32
	key    string
	record []byte
	gone   string // the key of a cell that made room; "": none

	e      *Engine
	who    Entity
	before []byte // the record in front of the change; nil: there was no cell
	step   Step
}

// Stage gives what is to be kept to a journal. An older change than one that was staged is left
// out. Any goroutine.
func (n *Note) Stage(keep func(key string, record []byte) error, forget func(key string)) error {
	lock(&n.mem.mu)
	fresh := n.seq > n.c.staged
	if fresh {
		n.c.staged = n.seq
	}
	n.c.trail.Settle(&n.step)
	unlock(&n.mem.mu)
	if n.gone != "" {
		forget(n.gone)
	}
	if !fresh {
		return nil
	}
	return keep(n.key, n.record)
}

// cell is what the round's node remembers of an entity; it is made if it is not there. Where all
// nodes remember too much, this one forgets another entity, whose key is gone. The memory is
// locked.
func (r *round) cell(who *Entity) (c *cell, made bool, gone string) {
	m, e := r.n.mem, r.e
	r.was = nil
	if c = m.cells[*who]; c != nil {
		if r.l != nil {
			r.was = c.record()
		}
		return c, false, ""
	}
	if m.cells == nil {
		m.cells = make(map[Entity]*cell)
	}
	for k, old := range m.cells {
		if e.cells.Load() < maxCells {
			break
		}
		gone = r.n.cellKey(&k)
		old.staged = math.MaxUint32 // what is noted of it is not kept any more
		e.cells.Add(-old.cost())
		delete(m.cells, k)
		break
	}
	c = new(cell)
	m.cells[*who] = c
	e.cells.Add(c.cost())
	return c, true, gone
}

// changed makes a note of a cell, which the journal gets at the end of the round: what comes of the
// message is in front of it. The memory is locked.
func (r *round) changed(who *Entity, c *cell, gone string) {
	if r.j != nil {
		c.seq++
		if n, ok := c.trail.Own(r.l).(*Note); ok { // what is refused together is one change
			n.seq, n.record = c.seq, c.record()
			return
		}
		n := &Note{
			mem: r.n.mem, c: c, seq: c.seq, key: r.n.cellKey(who), record: c.record(), gone: gone,
			e: r.e, who: *who, before: r.was,
		}
		r.notes = append(r.notes, n)
		if r.l == nil {
			c.trail = Trail{}
			return
		}
		n.step = Step{By: r.l, Of: n}
		c.trail.Add(&n.step)
		r.l.Undo(n.undo)
	}
}

// cellKey is longer than the keys of messages.
func (n *node) cellKey(who *Entity) string {
	f := frame{n.chain.id, n.key}
	return string(addText(f.key(nil), string(who.ID[:])+who.Type))
}

// cellForm is the first byte of the record of a cell.
const cellForm = 2

func (c *cell) record() []byte {
	b := binary.BigEndian.AppendUint64(addByte(nil, cellForm), math.Float64bits(c.value))
	b = addField(addSigned(b, c.time), c.word)
	last := int64(0)
	for _, n := range c.intervals {
		b = addSigned(b, n-last)
		last = n
	}
	return b
}

func readCell(b []byte) (*cell, error) {
	r := records{b: b}
	if form := r.take(1); form[0] != cellForm {
		return nil, errRecord
	}
	c := &cell{value: math.Float64frombits(binary.BigEndian.Uint64(r.take(8)))}
	c.time, c.word = r.signed(), r.text()
	for last := int64(0); len(r.b) > 0; {
		last += r.signed()
		c.intervals = append(c.intervals, last)
	}
	if r.bad || len(c.intervals) > maxIntervals || len(c.word) > 16 {
		return nil, errRecord
	}
	return c, nil
}

// restoreCell brings back what a node remembers; what has no node any more is forgotten.
func (e *Engine) restoreCell(key string, record []byte) error {
	c, err := readCell(record)
	if err != nil {
		return err
	}
	id, at := frameOf(key)
	who := Entity{Type: key[40:]}
	copy(who.ID[:], key[24:])
	e.mu.RLock()
	defer e.mu.RUnlock()
	n := (*node)(nil)
	if in := e.chains[id]; in != nil {
		n = in.byKey(at)
	}
	if n == nil || e.cells.Load() >= maxCells {
		return e.opt.Journal.Forget(key)
	}
	lock(&n.mem.mu)
	defer unlock(&n.mem.mu)
	if n.mem.cells == nil {
		n.mem.cells = make(map[Entity]*cell)
	}
	n.mem.cells[who] = c
	e.cells.Add(c.cost())
	return nil
}

// dropCells forgets what a node that is gone remembers.
func (e *Engine) dropCells(n *node) {
	lock(&n.mem.mu)
	all := n.mem.cells
	n.mem.cells = nil
	for _, c := range all {
		c.staged = math.MaxUint32
		e.cells.Add(-c.cost())
	}
	unlock(&n.mem.mu)
	for who := range all {
		if j := e.opt.Journal; j != nil {
			_ = j.Forget(n.cellKey(&who)) // what is left is forgotten with the next start
		}
	}
}
