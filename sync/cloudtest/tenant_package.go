package cloudtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"edgesync/proto"
)

// maxPackages bounds the OTA packages of a tenant; the oldest gives way.
const maxPackages = 16

// Package is an OTA package of the tenant.
type Package struct {
	ID             proto.UUID // zero: a new one
	Profile        proto.UUID // device profile; zero: the default one
	Title, Version string
	Software       bool   // else firmware
	Data           []byte // the binary
}

// UploadPackage saves a package, and returns its id and the event for all edges of the tenant. A
// package with a known ID replaces that.
func (t *Tenant) UploadPackage(p Package) (proto.UUID, *proto.DownlinkMsg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if p.ID == (proto.UUID{}) {
		p.ID = t.newID(now)
	}
	if p.Profile == (proto.UUID{}) {
		p.Profile = t.deviceProfile
	}
	m := packageMsg(p, t.id, now)
	t.packages = slices.DeleteFunc(t.packages, func(old *proto.OtaPackageUpdateMsg) bool {
		return old.IdMSB == m.IdMSB && old.IdLSB == m.IdLSB
	})
	if t.packages = append(t.packages, m); len(t.packages) > maxPackages {
		t.packages = slices.Delete(t.packages, 0, 1)
	}
	return p.ID, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{m}}
}

// DeletePackage deletes a package and returns the event for all edges; nil if there is none.
func (t *Tenant) DeletePackage(id proto.UUID) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &proto.OtaPackageUpdateMsg{MsgType: deleted}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	n := len(t.packages)
	t.packages = slices.DeleteFunc(t.packages, func(old *proto.OtaPackageUpdateMsg) bool {
		return old.IdMSB == m.IdMSB && old.IdLSB == m.IdLSB
	})
	if len(t.packages) == n {
		return nil
	}
	return &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{m}}
}

// packageSteps are the packages of a full sync, each with its binary (CONTRACT.md 3.2).
func (t *Tenant) packageSteps() (step []*proto.DownlinkMsg) {
	for _, m := range t.packages {
		step = append(step, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{m}})
	}
	return step
}

// packageMsg composes the message of a package: its JSON with the binary as base64 in it
// (CONTRACT.md 6.4). It is megabytes, so it is built in place.
func packageMsg(p Package, tenant proto.UUID, now time.Time) *proto.OtaPackageUpdateMsg {
	kind := "FIRMWARE"
	if p.Software {
		kind = "SOFTWARE"
	}
	sum := sha256.Sum256(p.Data)
	b := make([]byte, 0, base64.StdEncoding.EncodedLen(len(p.Data))+1<<10)
	b = append(b, `{"id":{"entityType":"OTA_PACKAGE","id":"`+proto.FormatUUID(p.ID)+`"},"createdTime":`+millisText(now)+
		`,"tenantId":`+idJSON(ref{typeTenant, tenant})+`,"deviceProfileId":`+idJSON(ref{typeDeviceProfile, p.Profile})+
		`,"type":"`+kind+`","title":`+quoted(p.Title)+`,"version":`+quoted(p.Version)+`,"tag":`+quoted(p.Title+" "+p.Version)+
		`,"url":null,"hasData":true,"fileName":"package.bin","contentType":"application/octet-stream","checksumAlgorithm":"SHA256",`+
		`"checksum":"`+hex.EncodeToString(sum[:])+`","dataSize":`+strconv.Itoa(len(p.Data))+`,"additionalInfo":null,"data":"`...)
	b = base64.StdEncoding.AppendEncode(b, p.Data)
	m := &proto.OtaPackageUpdateMsg{Entity: string(append(b, `"}`...))}
	m.IdMSB, m.IdLSB = proto.Halves(p.ID)
	return m
}
