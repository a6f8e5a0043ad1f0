package sync

import (
	"cmp"
	"encoding/json"
	"slices"
)

// RefusedCreations is what status says of devices that the cloud refuses to create. A field once
// published keeps its name and meaning.
type RefusedCreations struct {
	Devices int      `json:"devices"`         // entities whose creation is refused
	Events  int      `json:"events"`          // that wait for one, and are counted as dead
	Bytes   int64    `json:"bytes"`           // of all of these in the dead-letter log
	Room    int64    `json:"room"`            // bytes that they may take
	Full    bool     `json:"full"`            // new data of these devices gets 503
	Cause   string   `json:"cause"`           // what the cloud said last, without secrets
	Names   []string `json:"names,omitempty"` // of some of the devices: at most 8, of 128 bytes
}

// refusedCreations is what the loop knows of RefusedCreations.
type refusedCreations struct {
	devices int
	cause   string
	names   []string
}

// describe lists what is refused now. It is nil when nothing is.
func (d *dependents) describe() *refusedCreations {
	if !d.any() {
		return nil
	}
	r := &refusedCreations{cause: d.cause}
	told := false
	for _, c := range d.creations {
		told = told || c.told
		if c.accepted || c.until != 0 || !c.told {
			continue
		}
		r.devices++
		if c.name != "" && len(r.names) < namedCreations {
			r.names = append(r.names, c.name)
		}
	}
	if !told {
		return nil
	}
	slices.Sort(r.names)
	return r
}

// nameIn is the name of an entity in JSON, or its title; "" if there is none.
func nameIn(entity string) string {
	var e struct {
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	if json.Unmarshal([]byte(entity), &e) != nil {
		return ""
	}
	return cmp.Or(e.Name, e.Title)
}
