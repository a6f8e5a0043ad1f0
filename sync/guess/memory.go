package guess

// Bounds of the memory of right secrets.
const (
	sets    = 1024    // a power of two
	ways    = 8       // secrets of a set; the one that was right longest ago gives way
	ofOwner = 4       // secrets of one owner, likewise
	lately  = 24 * 60 // minutes for which a secret is remembered
)

// memory holds which secrets were right, and from where. It has a fixed size, and takes it when the
// first secret is added. The Limiter's mutex guards it.
type memory struct {
	entries []entry // sets * ways
}

// entry is a secret that was right.
type entry struct {
	secret Secret
	owner  uint32
	from   [2]uint32 // the last addresses from which it was right
	at     uint32    // the minute when it was right last; 0: the entry is free
}

// set is where a secret is remembered.
func (m *memory) set(secret Secret) []entry {
	if m.entries == nil {
		return nil
	}
	at := int(secret%sets) * ways
	return m.entries[at : at+ways]
}

// find returns a secret's entry, or nil.
func (m *memory) find(secret Secret) *entry {
	set := m.set(secret)
	for i := range set {
		if e := &set[i]; e.at != 0 && e.secret == secret {
			return e
		}
	}
	return nil
}

// has reports whether a secret was right lately from an address.
func (m *memory) has(secret Secret, from, minute uint32) bool {
	e := m.find(secret)
	return e != nil && minute-e.at <= lately && (e.from[0] == from || e.from[1] == from)
}

// add notes that a secret was right.
func (m *memory) add(secret Secret, owner, from, minute uint32) {
	if e := m.find(secret); e != nil {
		if e.at = minute; e.from[0] != from {
			e.from[1], e.from[0] = e.from[0], from
		}
		return
	}
	if m.entries == nil {
		m.entries = make([]entry, sets*ways)
	}
	// A device that connects with another client id each time has another secret each time.
	n := 0
	var oldest *entry
	for i := range m.entries {
		if e := &m.entries[i]; e.at != 0 && e.owner == owner {
			if n++; oldest == nil || e.at < oldest.at {
				oldest = e
			}
		}
	}
	if n >= ofOwner {
		*oldest = entry{}
	}
	set := m.set(secret)
	free := &set[0]
	for i := range set {
		if set[i].at < free.at {
			free = &set[i]
		}
	}
	*free = entry{secret, owner, [2]uint32{from, from}, minute}
}

// forget removes a secret.
func (m *memory) forget(secret Secret) {
	if e := m.find(secret); e != nil {
		*e = entry{}
	}
}
