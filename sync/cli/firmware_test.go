package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

const firmwareTitle = "sensor-fw"

// assignFirmware makes a package of the binary in the cloud, sends it down and assigns it to a
// device, as ThingsBoard does: attributes announce it to the device. It returns the binary's
// checksum.
func (s *site) assignFirmware(d cloudtest.Device, binary []byte) string {
	s.Helper()
	sum := sha256.Sum256(binary)
	checksum := hex.EncodeToString(sum[:])
	id := s.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(id)
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{
		IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"id":{"entityType":"OTA_PACKAGE","id":%q},"type":"FIRMWARE","title":%q,"version":"2.10","tag":"x",
			"hasData":true,"fileName":"fw.bin","contentType":"application/x-fw",
			"checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d,"data":%q}`,
			proto.FormatUUID(id), firmwareTitle, checksum, len(binary), base64.StdEncoding.EncodeToString(binary)),
	}}})
	device := &proto.DeviceUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, Entity: fmt.Sprintf(
		`{"id":{"entityType":"DEVICE","id":%q},"name":%q,"type":"default","firmwareId":{"entityType":"OTA_PACKAGE","id":%q}}`,
		proto.FormatUUID(d.ID), d.Name, proto.FormatUUID(id))}
	device.IdMSB, device.IdLSB = proto.Halves(d.ID)
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device}})
	text := func(key, value string) *proto.KeyValueProto {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_STRING_V, StringV: value}
	}
	s.cloud.SetSharedAttributes(d.ID, []*proto.KeyValueProto{
		text("fw_title", firmwareTitle), text("fw_version", "2.10"), text("fw_checksum", checksum), text("fw_checksum_algorithm", "SHA256"),
		{Key: "fw_size", Type: proto.KeyValueType_LONG_V, LongV: int64(len(binary))},
	}, true)
	return checksum
}

// firmware is a binary that shows a wrong order of chunks, a chunk twice and a lost chunk.
func firmware(size int) []byte {
	b := make([]byte, 0, size+32)
	for sum := sha256.Sum256(nil); len(b) < size; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b[:size]
}

// A package of the cloud goes to a device: over HTTP, whole and in chunks.
func TestFirmwareOverHTTP(t *testing.T) {
	t.Parallel()
	curl := installed(t, "curl")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.extra = "[registry]\nkeep = [\"ota\"]\n"
	r := s.synced()
	want := firmware(1<<20 + 7)
	s.assignFirmware(s.mustBeNamed("station 0"), want)
	get := func(query string) ([]byte, error) {
		return exec.Command(curl, "-sS", "--fail", "--max-time", "120",
			"http://"+r.http+"/api/v1/token-0/firmware?title="+firmwareTitle+"&version=2.10"+query).Output()
	}
	s.eventually("the package is here", func() bool {
		got, err := get("")
		return err == nil && bytes.Equal(got, want)
	})
	var joined []byte
	for chunk := 0; ; chunk++ {
		got, err := get(fmt.Sprintf("&size=300000&chunk=%d", chunk))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		joined = append(joined, got...)
	}
	if !bytes.Equal(joined, want) {
		t.Errorf("%d bytes in chunks", len(joined))
	}
	if _, err := exec.Command(curl, "-sS", "--fail", "--max-time", "120",
		"http://"+r.http+"/api/v1/token-1/firmware?title="+firmwareTitle+"&version=2.10").Output(); err == nil {
		t.Error("a device that has none assigned got it")
	}
}

// ThingsBoard's own Python SDK updates itself: it gets word of the package, loads it chunk by
// chunk, verifies it and reports how far it is. The SDK goes on although a subscription of its own
// is refused, as by the server (API.md 9).
func TestFirmwareWithThePythonSDK(t *testing.T) {
	t.Parallel()
	python := python(t, "sdk")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.extra = "[registry]\nkeep = [\"ota\"]\n"
	r := s.synced()
	_, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	d := s.mustBeNamed("station 0")
	binary := firmware(50_001)
	sum := sha256.Sum256(binary)
	drive(t, func() { s.assignFirmware(d, binary) }, python, sdk(t), "firmware", port,
		"token-0:"+firmwareTitle+":"+hex.EncodeToString(sum[:]))
	var states []string
	defer func() {
		if t.Failed() {
			t.Logf("states %q; the agent's log:\n%s", states, &r.log)
		}
	}()
	s.eventually("the cloud hears of the update", func() bool {
		states = states[:0] // some come within one millisecond, and the later one counts
		for _, row := range s.cloud.Tenant().Series(d.ID, "fw_state") {
			states = append(states, row.Value.Str)
		}
		return slices.Contains(states, "DOWNLOADING") && states[len(states)-1] == "UPDATED"
	})
	balanced(t, r.snapshot())
}

// A device asks for the whole package in one message, over TCP, and for chunks of any size, while
// it goes on publishing (API.md 4.1).
func TestWholeFirmwareOverMQTT(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.extra = "[registry]\nkeep = [\"ota\"]\n"
	r := s.synced()
	want := firmware(782832)
	d := s.mustBeNamed("station 0")
	c, in, code, err := mqttDial(r.snapshot().MQTTAddress, "token-0")
	if err != nil || code != 0 {
		t.Fatalf("CONNACK %d, %v", code, err)
	}
	defer c.Close()
	c.Write(mqttPacket(0x82, []byte{0, 1}, mqttString("v2/fw/response/+/chunk/+"), []byte{0},
		mqttString("v1/devices/me/attributes"), []byte{0}))
	checksum := s.assignFirmware(d, want)
	_, told := mqttMessage(t, in)
	if announced := fmt.Sprintf(`{"fw_title":%q,"fw_version":"2.10","fw_tag":"x","fw_size":782832,`+
		`"fw_checksum_algorithm":"SHA256","fw_checksum":%q}`, firmwareTitle, checksum); told != announced {
		t.Errorf("told %s, want %s", told, announced)
	}
	for i, ask := range []struct {
		chunk, size string
		from, to    int
	}{{"0", "", 0, 782832}, {"0", "0", 0, 782832}, {"3", "-1", 0, 782832}, {"1", "500000", 500000, 782832}, {"2", "4096", 8192, 12288}} {
		request := fmt.Sprintf("%d/chunk/%s", i+1, ask.chunk)
		c.Write(slices.Concat(
			mqttPacket(0x30, mqttString("v1/devices/me/telemetry"), []byte(`{"before":1}`)),
			mqttPacket(0x32, mqttString("v2/fw/request/"+request), []byte{0, 7}, []byte(ask.size)),
			mqttPacket(0x32, mqttString("v1/devices/me/telemetry"), []byte{0, 8},
				fmt.Appendf(nil, `{"ts":%d,"values":{"behind":1}}`, 1767225600000+int64(i)))))
		topic, payload := mqttMessage(t, in)
		if topic != "v2/fw/response/"+request || payload != string(want[ask.from:ask.to]) {
			t.Errorf("%s of %q bytes: %s, %d bytes", request, ask.size, topic, len(payload))
		}
	}
	s.arrived(d, "behind", 5)
}
