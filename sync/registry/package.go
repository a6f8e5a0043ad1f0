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
	d, ok := r.ByID(device)
	if !ok {
		return p, false
	}
	id, ok := r.assigned(devices.key(device), software)
	if !ok {
		if id, ok = r.assigned(deviceProfiles.key(d.ProfileID), software); !ok {
			return p, false
		}
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

// assigned reads which package the JSON of a device or a profile names.
func (r *Registry) assigned(key string, software bool) (id proto.UUID, ok bool) {
	record, ok := r.get(key)
	if !ok {
		return id, false
	}
	var j struct {
		FirmwareID, SoftwareID *struct{ ID string }
	}
	if json.Unmarshal(record, &j) != nil {
		return id, false
	}
	ref := j.FirmwareID
	if software {
		ref = j.SoftwareID
	}
	if ref == nil {
		return id, false
	}
	return proto.ParseUUID(ref.ID)
}
