package registry

import (
	"bytes"
	"errors"

	"edgesync/proto"
	"edgesync/wal/store"
)

// The server announces an assigned package to a device of its own by shared attributes. To a device
// of an edge they come with the next answer about attributes only, and as numbers where a text
// looks like one (CONTRACT.md 13.3). So they are set here, from the package that is assigned, and
// what the cloud sends of them does not count as long as that package is known here.

// assigned are the packages that the JSON of a device or of a profile names; a zero id is none.
type assigned struct{ firmware, software proto.UUID }

func (a assigned) id(software bool) proto.UUID {
	if software {
		return a.software
	}
	return a.firmware
}

// assignedIn reads which packages the JSON of a device or of a profile names.
func assignedIn(text []byte) (a assigned) {
	if !bytes.Contains(text, []byte("OTA_PACKAGE")) {
		return a // nearly every device
	}
	var j struct {
		Firmware *jsonID `json:"firmwareId"`
		Software *jsonID `json:"softwareId"`
	}
	if !decode(text, &j) {
		return a
	}
	if j.Firmware != nil {
		a.firmware, _ = proto.ParseUUID(j.Firmware.ID)
	}
	if j.Software != nil {
		a.software, _ = proto.ParseUUID(j.Software.ID)
	}
	return a
}

// noteAssigned notes which packages a device or a profile names now. The caller holds write, if
// others can call.
func (r *Registry) noteAssigned(id proto.UUID, a assigned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == (assigned{}) {
		delete(r.assigned, id)
	} else {
		r.assigned[id] = a
	}
}

// packagesOf are the packages of a device: its own, else those of its profile. Any goroutine.
func (r *Registry) packagesOf(device proto.UUID) assigned {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.devices[device]
	if e == nil {
		return assigned{}
	}
	a, of := r.assigned[device], r.assigned[e.ProfileID]
	if a.firmware == (proto.UUID{}) {
		a.firmware = of.firmware
	}
	if a.software == (proto.UUID{}) {
		a.software = of.software
	}
	return a
}

// announce sets the attributes that announce the packages of a device, and removes those of the
// packages that it had before. It tells the watcher of what has changed only.
func (r *Registry) announce(device proto.UUID, had assigned) error {
	is := r.packagesOf(device)
	if had == (assigned{}) && is == had {
		return nil
	}
	return unlessFull(errors.Join(
		r.announceOne(device, "fw_", had.firmware, is.firmware), r.announceOne(device, "sw_", had.software, is.software)))
}

// unlessFull leaves out that there is no room for an announcement, which put has logged: the device
// and its package are here all the same.
func unlessFull(err error) error {
	if errors.Is(err, errFull) && !errors.Is(err, store.ErrWrite) {
		return nil
	}
	return err
}

func (r *Registry) announceOne(device proto.UUID, prefix string, had, is proto.UUID) error {
	var want []proto.KV
	if is != (proto.UUID{}) {
		want = r.announcement(is, prefix)
	}
	if want == nil && (had == (proto.UUID{}) || had == is) {
		return nil // never announced here
	}
	old := map[string]proto.KV{}
	r.Attributes(device, SharedScope, announcedBy(prefix), func(kv *proto.KV) { old[string(kv.Key)] = *kv })
	changed := false
	for i := range want {
		kv, ok := old[string(want[i].Key)]
		changed = changed || !ok || !sameValue(&kv, &want[i])
		delete(old, string(want[i].Key))
	}
	var gone []string
	for _, key := range announcedBy(prefix) {
		if _, ok := old[key]; ok {
			gone = append(gone, key)
		}
	}
	var err error
	if len(gone) > 0 {
		_, err = r.deleteAttributes(device, SharedScope, gone)
	}
	if changed {
		_, e := r.setAttributes(device, SharedScope, newest, want)
		err = errors.Join(err, e)
	}
	return err
}

// announcedBy are the keys of the attributes that announce a package.
func announcedBy(prefix string) []string {
	return []string{
		prefix + "title", prefix + "version", prefix + "tag", prefix + "size", prefix + "checksum_algorithm", prefix + "checksum",
		prefix + "url",
	}
}

// announcement are the attributes that announce a package, texts but for the size; nil if the
// package is not here.
func (r *Registry) announcement(id proto.UUID, prefix string) (kvs []proto.KV) {
	info, path, ok := r.OTA(id)
	var j struct {
		Title, Version, Tag, URL string
		Algorithm                string `json:"checksumAlgorithm"`
		Checksum                 string
		Size                     *int64 `json:"dataSize"`
	}
	if !ok || !decode(info, &j) || path == "" && j.URL == "" {
		return nil
	}
	text := func(key, value string) {
		if value != "" {
			kvs = append(kvs, proto.KV{Key: []byte(prefix + key), Type: proto.KeyValueType_STRING_V, Str: []byte(value)})
		}
	}
	text("title", j.Title)
	text("version", j.Version)
	text("tag", j.Tag)
	if j.Size != nil {
		kvs = append(kvs, proto.KV{Key: []byte(prefix + "size"), Type: proto.KeyValueType_LONG_V, Long: *j.Size})
	}
	text("checksum_algorithm", j.Algorithm)
	text("checksum", j.Checksum)
	if path == "" {
		text("url", j.URL)
	}
	return kvs
}

// reassign notes which packages a profile names now, and announces them to its devices.
func (r *Registry) reassign(profile proto.UUID, a assigned) error {
	r.mu.RLock()
	was := r.assigned[profile]
	r.mu.RUnlock()
	if was == a {
		return nil
	}
	had := map[proto.UUID]assigned{}
	r.Each(func(d Device) bool {
		if d.ProfileID == profile {
			had[d.ID] = assigned{}
		}
		return true
	})
	for id := range had {
		had[id] = r.packagesOf(id)
	}
	r.noteAssigned(profile, a)
	var err error
	for id, a := range had {
		err = errors.Join(err, r.announce(id, a))
	}
	return err
}

// announcePackage announces a package that has come, has changed or is gone to its devices.
func (r *Registry) announcePackage(id proto.UUID) error {
	r.mu.RLock()
	named := false
	for _, a := range r.assigned {
		named = named || a.firmware == id || a.software == id
	}
	r.mu.RUnlock()
	if !named {
		return nil
	}
	var had assigned
	if !r.has(otaPackages.key(id)) { // what is announced of it goes too
		had = assigned{withdrawn, withdrawn}
	}
	var all []proto.UUID
	r.Each(func(d Device) bool { all = append(all, d.ID); return true })
	var err error
	for _, device := range all {
		a := r.packagesOf(device)
		if a.firmware == id {
			err = errors.Join(err, r.announceOne(device, "fw_", had.firmware, id))
		}
		if a.software == id {
			err = errors.Join(err, r.announceOne(device, "sw_", had.software, id))
		}
	}
	return unlessFull(err)
}

// withdrawn stands for a package that is gone, and is the id of none.
var withdrawn = proto.UUID{0xff}

// announcedHere reports whether a shared attribute of a device announces a package that is known
// here, so that the cloud's copy does not count.
func (r *Registry) announcedHere(device proto.UUID) func(key string) bool {
	a := r.packagesOf(device)
	if a == (assigned{}) {
		return func(string) bool { return false }
	}
	keys := map[string]bool{}
	for prefix, id := range map[string]proto.UUID{"fw_": a.firmware, "sw_": a.software} {
		if id != (proto.UUID{}) && r.announcement(id, prefix) != nil {
			for _, key := range announcedBy(prefix) {
				keys[key] = true
			}
		}
	}
	return func(key string) bool { return keys[key] }
}
