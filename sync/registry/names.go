package registry

import (
	"path/filepath"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal/store"
)

// maxNames bounds the names that a Names keeps; further ones are read from the file each time.
const maxNames = 1 << 10

// Names reads the names of entities from the files of a registry, whether an agent runs on them or
// not; it changes nothing. A device that came since it was opened has no name here. It is for one
// goroutine. A nil Names knows none.
type Names struct {
	store *store.Store
	known map[proto.UUID]string
	here  map[proto.UUID]bool
}

// InspectNames opens the names in the directory of a registry. One that is not there has none.
func InspectNames(dir string) (*Names, error) {
	s, err := store.Inspect(filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	return &Names{store: s, known: make(map[proto.UUID]string), here: make(map[proto.UUID]bool)}, nil
}

// Close releases the file.
func (n *Names) Close() {
	if n != nil {
		_ = n.store.Close() // it was read only
	}
}

// Of is the name of an entity, "" if it is not known.
func (n *Names) Of(id proto.UUID) string {
	if n == nil {
		return ""
	}
	name, ok := n.known[id]
	for i := 0; !ok && name == "" && i <= len(namedKinds); i++ {
		name, _ = n.read(i, id)
	}
	if !ok && len(n.known) < maxNames {
		n.known[id] = name
	}
	return name
}

// Knows is Registry.Knows, by the files.
func (n *Names) Knows(id proto.UUID) bool {
	if n == nil {
		return true // what cannot be read says nothing
	}
	if known, ok := n.here[id]; ok {
		return known
	}
	c := new(proto.EdgeConfiguration)
	if text, ok, _ := n.store.Get(keyEdge, nil); !ok || pb.Unmarshal(text, c) != nil {
		c = nil
	}
	known := n.store.Has(devices.key(id)) || knows(c, n.store.Has, id)
	if len(n.here) < maxNames {
		n.here[id] = known
	}
	return known
}

// read reads the name and the type of an entity of the i-th of the kinds that have one.
func (n *Names) read(i int, id proto.UUID) (name, typ string) {
	k := devices
	if i > 0 {
		k = namedKinds[i-1].kind
	}
	text, ok, _ := n.store.Get(k.key(id), nil)
	var j struct {
		Name  string `json:"name"`
		Title string `json:"title"`
		Type  string `json:"type"`
	}
	if !ok || !decode(text, &j) {
		return "", ""
	}
	return j.Name + j.Title, j.Type
}

// Each calls fn for the devices, in no order, until it returns false.
func (n *Names) Each(fn func(d Device) bool) {
	if n == nil {
		return
	}
	for _, key := range n.store.Keys(string(devices.letter)) {
		if len(key) != keyLen {
			continue
		}
		id := proto.UUID([]byte(key[1:]))
		if name, typ := n.read(0, id); name != "" && !fn(Device{ID: id, Name: name, Type: typ}) {
			return
		}
	}
}

// Find lists the entities of that name.
func (n *Names) Find(name string) (ids []proto.UUID) {
	if n == nil {
		return nil
	}
	for i := range len(namedKinds) + 1 {
		k := devices
		if i > 0 {
			k = namedKinds[i-1].kind
		}
		for _, key := range n.store.Keys(string(k.letter)) {
			if len(key) == keyLen {
				id := proto.UUID([]byte(key[1:]))
				if is, _ := n.read(i, id); is == name {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}
