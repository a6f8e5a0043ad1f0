package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// TestAssignedPackages assigns packages to devices and profiles, changes them and takes them away:
// the shared attributes follow at once, as texts, and devices are told of what has changed (API.md
// 2, CONTRACT.md 13.3).
func TestAssignedPackages(t *testing.T) {
	dir := t.TempDir()
	r := openKeeping(t, dir, "ota")
	heard := &announced{}
	r.Watch(heard)
	ref := func(n int) string {
		if n == 0 {
			return "null"
		}
		return fmt.Sprintf(`{"entityType":"OTA_PACKAGE","id":%q}`, proto.FormatUUID(id(n)))
	}
	profile := func(n, firmware, software int) {
		msb, lsb := proto.Halves(id(n))
		apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
			IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(`{"name":"p%d","firmwareId":%s,"softwareId":%s}`, n, ref(firmware), ref(software)),
		}}})
	}
	device := func(n, firmware, software, profile int) {
		msb, lsb := proto.Halves(id(n))
		apply(t, r, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
			IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
				`{"name":"d%d","type":"p","firmwareId":%s,"softwareId":%s,"deviceProfileId":{"entityType":"DEVICE_PROFILE","id":%q}}`,
				n, ref(firmware), ref(software), proto.FormatUUID(id(profile))),
		}}})
	}
	pack := func(n int, version, more string) {
		msb, lsb := proto.Halves(id(n))
		apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"title":"%d","version":%q,"checksumAlgorithm":"MD5","checksum":"5e7","fileName":"f",%s}`, n, version, more)}}})
	}
	const data = `"tag":null,"url":null,"data":"AAEC","dataSize":3`
	cloudSays := func(n int, kv *proto.KeyValueProto) {
		msb, lsb := proto.Halves(id(n))
		apply(t, r, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
			EntityType: "DEVICE", EntityIdMSB: msb, EntityIdLSB: lsb, PostAttributeScope: "SHARED_SCOPE",
			AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{kv}},
		}}})
	}
	expect := func(what string, n int, want string, told ...string) {
		t.Helper()
		if got := sharedOf(r, n); got != want {
			t.Errorf("%s: device %d has %s, want %s", what, n, got, want)
		}
		if got := strings.Join(heard.list, "\n"); got != strings.Join(told, "\n") {
			t.Errorf("%s: told\n%s\nwant\n%s", what, got, strings.Join(told, "\n"))
		}
		heard.list = nil
	}
	fw := func(title, version string) string {
		return fmt.Sprintf(`fw_checksum="5e7" fw_checksum_algorithm="MD5" fw_size=3 fw_title=%q fw_version=%q`, title, version)
	}
	push := func(n int, title, version string) string {
		return fmt.Sprintf(`d%d fw_title=%q fw_version=%q fw_size=3 fw_checksum_algorithm="MD5" fw_checksum="5e7"`, n, title, version)
	}

	pack(101, "1.10", data)
	profile(50, 0, 0)
	device(1, 0, 0, 50)
	expect("no package", 1, "")
	device(1, 101, 0, 50)
	expect("assigned", 1, fw("101", "1.10"), push(1, "101", "1.10"))
	device(1, 101, 0, 50)
	expect("the same again", 1, fw("101", "1.10"))
	cloudSays(1, &proto.KeyValueProto{Key: "fw_version", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 1.1})
	expect("the cast copy", 1, fw("101", "1.10"))
	cloudSays(1, &proto.KeyValueProto{Key: "fan", Type: proto.KeyValueType_STRING_V, StringV: "42"})
	expect("another attribute", 1, `fan="42" `+fw("101", "1.10"), `d1 fan="42"`)
	pack(101, "2.0", data)
	expect("the package is changed", 1, `fan="42" `+fw("101", "2.0"), push(1, "101", "2.0"))

	// Through the profile; the device's own package counts before it.
	pack(102, "7", data)
	device(2, 0, 0, 50)
	profile(50, 102, 0)
	expect("the profile's", 2, fw("102", "7"), push(2, "102", "7"))
	expect("not for a device of its own", 1, `fan="42" `+fw("101", "2.0"))
	device(1, 0, 0, 50)
	expect("its own is taken away, the profile's counts", 1, `fan="42" `+fw("102", "7"), push(1, "102", "7"))
	device(1, 0, 0, 51)
	const gone = "d1 deleted fw_title fw_version fw_size fw_checksum_algorithm fw_checksum"
	expect("a profile without one", 1, `fan="42"`, gone)
	profile(50, 0, 0)
	expect("taken from the profile", 2, "", strings.Replace(gone, "d1", "d2", 1))

	// Software, at a URL, with a tag; the package comes after the device that names it.
	device(3, 0, 103, 50)
	expect("a package that is not here", 3, "")
	cloudSays(3, &proto.KeyValueProto{Key: "sw_version", Type: proto.KeyValueType_LONG_V, LongV: 3})
	expect("what the cloud says of it counts", 3, "sw_version=3", "d3 sw_version=3")
	pack(103, "03", `"tag":"103 03","url":"http://a/b","data":null,"dataSize":null`)
	expect("it comes", 3,
		`sw_checksum="5e7" sw_checksum_algorithm="MD5" sw_tag="103 03" sw_title="103" sw_url="http://a/b" sw_version="03"`,
		`d3 sw_title="103" sw_version="03" sw_tag="103 03" sw_checksum_algorithm="MD5" sw_checksum="5e7" sw_url="http://a/b"`)
	pack(103, "03", data)
	expect("with a file instead", 3, `sw_checksum="5e7" sw_checksum_algorithm="MD5" sw_size=3 sw_title="103" sw_version="03"`,
		"d3 deleted sw_tag sw_url", `d3 sw_title="103" sw_version="03" sw_size=3 sw_checksum_algorithm="MD5" sw_checksum="5e7"`)
	msb, lsb := proto.Halves(id(103))
	apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{
		IdMSB: msb, IdLSB: lsb, MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
	}}})
	expect("removed", 3, "", "d3 deleted sw_title sw_version sw_size sw_checksum_algorithm sw_checksum")

	// After a restart all is as it was, and nothing is told again.
	device(1, 101, 0, 50)
	heard.list = nil
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openKeeping(t, dir, "ota")
	r.Watch(heard)
	device(1, 101, 0, 50)
	cloudSays(1, &proto.KeyValueProto{Key: "fw_version", Type: proto.KeyValueType_LONG_V, LongV: 2})
	expect("after a restart", 1, `fan="42" `+fw("101", "2.0"))
	device(1, 0, 0, 50)
	expect("taken away", 1, `fan="42"`, gone)
}

// A package that is not kept here announces nothing: the device could not fetch it.
func TestAssignedPackagesNotKept(t *testing.T) {
	r := openKeeping(t, t.TempDir())
	msb, lsb := proto.Halves(id(1))
	apply(t, r, &proto.DownlinkMsg{
		OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdLSB: 101, Entity: `{"title":"t","version":"1","data":"AAEC","dataSize":3}`}},
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"name":"d","type":"p","firmwareId":{"entityType":"OTA_PACKAGE","id":%q}}`, proto.FormatUUID(proto.UUIDOf(0, 101)))}},
	})
	if got := sharedOf(r, 1); got != "" {
		t.Errorf("announced %s", got)
	}
}

// WithGateway changes one field of a device and no other (API.md 4.3).
func TestWithGateway(t *testing.T) {
	r := openKeeping(t, t.TempDir())
	gateway := proto.FormatUUID(id(9))
	for n, c := range [][2]string{
		{
			`{"name":"a","additionalInfo":null,"x":{"k":1,"k":2}}`,
			`{"additionalInfo":{"lastConnectedGateway":"GW"},"name":"a","x":{"k":1,"k":2}}`,
		},
		{`{"name":"b"}`, `{"additionalInfo":{"lastConnectedGateway":"GW"},"name":"b"}`},
		{
			`{"name":"c","additionalInfo":{"gateway":true,"description":"ü"}}`,
			`{"additionalInfo":{"description":"ü","gateway":true,"lastConnectedGateway":"GW"},"name":"c"}`,
		},
		{`{"name":"d","additionalInfo":"text"}`, `{"additionalInfo":{"lastConnectedGateway":"GW"},"name":"d"}`},
		{`{"name":"e","additionalInfo":{"lastConnectedGateway":"GW"}}`, ""},
		{"", ""}, // not here
	} {
		msb, lsb := proto.Halves(id(n + 1))
		if c[0] != "" {
			apply(t, r, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
				IdMSB: msb, IdLSB: lsb, Entity: strings.ReplaceAll(c[0], "GW", gateway),
			}}})
		}
		got, ok := r.WithGateway(id(n+1), id(9))
		if want := strings.ReplaceAll(c[1], "GW", gateway); got != want || ok != (want != "") {
			t.Errorf("%s: %v %s, want %s", c[0], ok, got, want)
			continue
		}
		if !ok {
			continue
		}
		if err := r.SetGateway(id(n+1), got, 1); err != nil {
			t.Fatal(err)
		}
		if d, _ := r.ByID(id(n + 1)); d.LastGateway != id(9) {
			t.Errorf("%s: %+v", c[0], d)
		}
	}
}

// announced writes down what devices are told.
type announced struct{ list []string }

func (*announced) DeviceChanged(registry.Device, registry.Change) {}

func (a *announced) SharedAttributes(device proto.UUID, set []proto.KV, deleted []string) {
	text := fmt.Sprintf("d%d", device[15])
	for i := range set {
		text += " " + string(set[i].Key) + "=" + string(proto.AppendJSONValue(nil, &set[i]))
	}
	if len(deleted) > 0 {
		text += " deleted " + strings.Join(deleted, " ")
	}
	a.list = append(a.list, text)
}

// sharedOf lists the shared attributes of a device.
func sharedOf(r *registry.Registry, n int) string {
	var list []string
	r.Attributes(id(n), registry.SharedScope, nil, func(kv *proto.KV) {
		list = append(list, string(kv.Key)+"="+string(proto.AppendJSONValue(nil, kv)))
	})
	return strings.Join(list, " ")
}
