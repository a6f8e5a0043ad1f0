package registry_test

import (
	"fmt"
	"os"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// The package of a device is its own, else that of its profile; one without a binary is none.
func TestPackage(t *testing.T) {
	r := openKeeping(t, t.TempDir(), "ota")
	ref := func(kind string, n int) string {
		if n == 0 {
			return "null"
		}
		return fmt.Sprintf(`{"entityType":%q,"id":%q}`, kind, proto.FormatUUID(id(n)))
	}
	put := func(n, firmware, software, profile int) {
		msb, lsb := proto.Halves(id(n))
		entity := fmt.Sprintf(`{"name":"x%d","type":"default","firmwareId":%s,"softwareId":%s`, n,
			ref("OTA_PACKAGE", firmware), ref("OTA_PACKAGE", software))
		if profile == 0 {
			apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
				IdMSB: msb,
				IdLSB: lsb, Entity: entity + "}",
			}}})
			return
		}
		apply(t, r, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
			IdMSB: msb, IdLSB: lsb,
			Entity: entity + `,"deviceProfileId":` + ref("DEVICE_PROFILE", profile) + "}",
		}}})
	}
	pack := func(n int, data string) {
		msb, lsb := proto.Halves(id(n))
		apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"title":"fw%d","version":"1.%d","fileName":"f.bin","contentType":"a/b","data":%s,"dataSize":3}`, n, n, data)}}})
	}
	pack(101, `"AAEC"`)
	pack(102, `"AwQF"`)
	pack(103, `null`)
	put(50, 101, 0, 0) // a profile with firmware
	put(1, 0, 0, 50)   // a device of it
	put(2, 102, 0, 50) // another with its own
	put(3, 103, 0, 50) // without a binary
	put(4, 0, 102, 50) // with software
	put(5, 0, 0, 51)   // of a profile that is not here
	put(6, 104, 0, 50) // a package that is not here
	for _, c := range []struct {
		device   int
		software bool
		title    string // "" = none
		data     string
	}{
		{1, false, "fw101", "\x00\x01\x02"},
		{1, true, "", ""},
		{2, false, "fw102", "\x03\x04\x05"},
		{3, false, "", ""},
		{4, false, "fw101", "\x00\x01\x02"},
		{4, true, "fw102", "\x03\x04\x05"},
		{5, false, "", ""},
		{6, false, "", ""},
		{9, false, "", ""},
	} {
		p, ok := r.Package(id(c.device), c.software)
		if ok != (c.title != "") || p.Title != c.title {
			t.Errorf("device %d, software %v: %v %+v", c.device, c.software, ok, p)
			continue
		}
		if !ok {
			continue
		}
		if data, err := os.ReadFile(p.Path); err != nil || string(data) != c.data {
			t.Errorf("device %d: %x %v", c.device, data, err)
		}
		p.Path = ""
		if want := (registry.Package{Title: c.title, Version: "1." + c.title[2:], FileName: "f.bin", ContentType: "a/b"}); p != want {
			t.Errorf("device %d: %+v, want %+v", c.device, p, want)
		}
	}
}
