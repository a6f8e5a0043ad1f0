package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/wal/disk"
)

// The binary of an OTA package is a file of its own, DIR/ota/ID; the record holds the rest of its
// JSON. The file is written before the record, and a file without a record is removed at open.

func (r *Registry) otaPath(id proto.UUID) string {
	return filepath.Join(r.o.Dir, "ota", proto.FormatUUID(id))
}

// applyOTA takes a package that came whole in its message: a small one.
func (r *Registry) applyOTA(u *proto.OtaPackageUpdateMsg) (bool, error) {
	text := func() io.Reader { return strings.NewReader(u.GetEntity()) }
	p := r.scanPackage(u, text)
	r.wantPackage(p)
	r.storePackage(p, text)
	return r.keepPackage(p)
}

// TakePackage reads a package out of the message that brings it, see link.Packages. The text of one
// that is not kept is not decoded; that of one that is kept goes to flash as it is decoded, and is
// checked meanwhile. Nothing else is locked during that. What is returned puts the package in its
// place, as Apply does.
func (r *Registry) TakePackage(u *proto.OtaPackageUpdateMsg, _ int, text func() io.Reader) func() (used bool, err error) {
	p := r.scanPackage(u, text)
	r.lock()
	r.wantPackage(p)
	r.unlock()
	r.storePackage(p, text)
	return func() (bool, error) {
		r.lock()
		defer r.unlock()
		if err := r.relieve(); err != nil {
			return false, err
		}
		r.count(otaPackages.part, func(c *Count) { c.Received++ })
		a := applier{r: r}
		kept, err := r.keepPackage(p)
		a.note(otaPackages.part, kept, err)
		return a.used, a.err
	}
}

// incoming is a package on its way into the registry.
type incoming struct {
	id      proto.UUID
	deleted bool
	kept    bool   // registry.keep says that packages are
	err     error  // why it is not kept all the same
	info    []byte // its JSON without the data
	data    span   // of the text: the data, in base64
	store   bool   // the data is to be written, and when that is done, is written
	there   bool   // the package is here already, with its binary

	Checksum  string `json:"checksum"`
	Algorithm string `json:"checksumAlgorithm"`
	Size      int64  `json:"dataSize"`
}

// scanPackage finds out what a message says of a package. It decodes no data. Any goroutine.
func (r *Registry) scanPackage(u *proto.OtaPackageUpdateMsg, text func() io.Reader) *incoming {
	p := &incoming{
		id: proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()), kept: r.keeps(otaPackages.keep),
		deleted: u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
	}
	if p.deleted || !p.kept {
		return p
	}
	var ok bool
	if p.info, p.data, ok = cutData(text()); !ok || !utf8.Valid(p.info) || !validObject(p.info) || json.Unmarshal(p.info, p) != nil {
		p.err = errMalformed
	}
	return p
}

// wantPackage decides whether the data of a package is to be written. The caller holds write.
func (r *Registry) wantPackage(p *incoming) {
	if p.deleted || !p.kept || p.err != nil {
		return
	}
	if r.same(otaPackages.key(p.id), p.info) {
		st, err := os.Stat(r.otaPath(p.id))
		p.there = p.data.length == 0 || err == nil && st.Size() == p.Size // every full sync brings it again
	}
	if p.there || p.data.length == 0 {
		return
	}
	size := int64(base64Len(p.data.length))
	switch room := r.otaRoom(p.id); {
	case p.Size > size: // it cannot hold what it says
		p.err = errMalformed
	case size > room:
		r.log.Warn("no room for an OTA package", "bytes", max(p.Size, size-2), "limit", max(room, 0))
		p.err = errFull
	default:
		p.store = true
	}
}

// keepPackage keeps the record of a package, and its file if one was written. The caller holds
// write.
func (r *Registry) keepPackage(p *incoming) (bool, error) {
	switch {
	case p.deleted:
		r.dropOTA(p.id)
		there, err := r.removeEntity(otaPackages, p.id)
		return there, errors.Join(err, r.announcePackage(p.id))
	case !p.kept:
		return false, nil
	}
	r.mark(otaPackages, p.id)
	if p.err != nil || p.there {
		return p.there, p.err
	}
	if p.store {
		if err := disk.Commit(r.otaPath(p.id)); err != nil {
			return false, fmt.Errorf("registry: %w", err)
		}
	} else {
		r.dropOTA(p.id)
	}
	if err := r.put(otaPackages.key(p.id), p.info); err != nil {
		return false, err
	}
	return true, r.announcePackage(p.id)
}

// otaBytes is the size of the files of all packages but one.
func (r *Registry) otaBytes(but proto.UUID) (n int64) {
	for _, id := range r.idsOf(otaPackages) {
		if st, err := os.Stat(r.otaPath(id)); err == nil && id != but {
			n += st.Size()
		}
	}
	return n
}

func (r *Registry) dropOTA(id proto.UUID) {
	os.Remove(r.otaPath(id) + disk.Temp) // of a session that ended, if there is one
	if err := os.Remove(r.otaPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("an OTA package cannot be removed", "error", err)
	}
}

func (r *Registry) dropAllOTA() {
	files, _ := os.ReadDir(filepath.Join(r.o.Dir, "ota"))
	for _, f := range files {
		if id, ok := proto.ParseUUID(f.Name()); ok {
			r.dropOTA(id)
		}
	}
}

// loadOTA removes files without a record, which a crash may leave, and sets aside what is no file.
// A record without its file comes again with the next full sync.
func (r *Registry) loadOTA() {
	dir := filepath.Join(r.o.Dir, "ota")
	if err := disk.MakeWay(dir, disk.Dir, r.o.CorruptDir, r.log); err != nil {
		r.log.Warn("OTA packages cannot be kept", "error", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if err := disk.MakeWay(filepath.Join(dir, f.Name()), disk.File, r.o.CorruptDir, r.log); err != nil {
			r.log.Warn("an OTA package cannot be kept", "error", err)
		}
		id, ok := proto.ParseUUID(f.Name())
		if !ok || !r.has(otaPackages.key(id)) {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

// OTA is what is known of a package: ThingsBoard's JSON without its data, and the path of the file
// with its binary ("" if there is none: then the JSON names a URL). Any goroutine.
func (r *Registry) OTA(id proto.UUID) (info []byte, path string, ok bool) {
	info, ok = r.get(otaPackages.key(id))
	if !ok {
		return nil, "", false
	}
	if _, err := os.Stat(r.otaPath(id)); err == nil {
		path = r.otaPath(id)
	}
	return info, path, true
}
