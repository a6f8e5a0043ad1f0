package registry

import (
	"encoding/json"

	"edgesync/proto"
)

// Package is an OTA package as a device sees it.
type Package struct {
	Title, Version        string
	FileName, ContentType string
	Path                  string // of the file with its binary
}

// Package finds the firmware, or the software, that is assigned to a device: its own, else that of
// its profile. false if none is assigned, or none whose binary is here (registry.keep). Any
// goroutine.
func (r *Registry) Package(device proto.UUID, software bool) (p Package, ok bool) {
	id := r.packagesOf(device).id(software)
	if id == (proto.UUID{}) {
		return p, false
	}
	info, path, ok := r.OTA(id)
	if !ok || path == "" {
		return p, false
	}
	var j struct{ Title, Version, FileName, ContentType string }
	if json.Unmarshal(info, &j) != nil {
		return p, false
	}
	return Package{Title: j.Title, Version: j.Version, FileName: j.FileName, ContentType: j.ContentType, Path: path}, true
}
