package cli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// ThingsBoard's own gateway has a connector that listens on a socket: what comes in there is in the
// cloud, under a device that the gateway introduced.
func TestThingsBoardGateway(t *testing.T) {
	t.Parallel()
	python := python(t, "gateway")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	tenant := s.cloud.Tenant()
	s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
		ID: tenant.NewID(), Name: "gateway",
		CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-g", Gateway: true,
	})
	r := s.synced()
	_, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket := free.Addr().String()
	_, socketPort, _ := net.SplitHostPort(socket)
	free.Close()

	dir := t.TempDir()
	for name, text := range map[string]string{
		"tb_gateway.json": `{"thingsboard":{"host":"127.0.0.1","port":` + port + `,"remoteShell":false,"remoteConfiguration":false,"statistics":{"enable":false},
			"maxPayloadSizeBytes":8196,"minPackSendDelayMS":50,"minPackSizeToSend":500,"checkConnectorsConfigurationInSeconds":60,"handleDeviceRenaming":true,
			"security":{"type":"accessToken","accessToken":"token-g"},"qos":1},
			"storage":{"type":"memory","read_records_count":100,"max_records_count":100000},
			"grpc":{"enabled":false},"connectors":[{"type":"socket","name":"Socket","configuration":"socket.json"}]}`,
		"socket.json": `{"name":"Socket","socket":{"address":"127.0.0.1","type":"TCP","port":` + socketPort + `,"bufferSize":1024},
			"devices":[{"address":"*:*","addressFilter":"*:*","deviceName":"Meter","deviceType":"meter","encoding":"utf-8",
			"telemetry":[{"key":"n","byteFrom":0,"byteTo":-1}],"attributes":[],"attributeRequests":[],"attributeUpdates":[],"serverSideRpc":[]}]}`,
		"logs.json": `{"version":1,"disable_existing_loggers":false,"handlers":{"console":{"class":"logging.StreamHandler","level":"DEBUG","stream":"ext://sys.stderr"}},
			"loggers":{"service":{"level":"DEBUG","handlers":["console"],"propagate":false}},"root":{"level":"INFO","handlers":["console"]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	logged := func() []byte {
		b, err := os.ReadFile(log.Name())
		if err != nil {
			t.Error(err)
		}
		return b
	}
	cmd := exec.Command(python, "-c", "from thingsboard_gateway.tb_gateway import main; main()")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TB_GW_CONFIG_DIR="+dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s", logged())
		}
	}()
	var c net.Conn
	s.eventually("the gateway listens", func() bool {
		c, err = net.Dial("tcp", socket)
		return err == nil
	})
	defer c.Close()
	// What comes before the gateway is connected it keeps; equal values it would take for one.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; n <= 10; n++ {
		<-tick.C
		if _, err := fmt.Fprintf(c, "%d", n); err != nil {
			t.Fatal(err)
		}
	}
	meter := s.mustBeNamed("Meter")
	s.arrived(meter, "n", 10)
	for i, row := range tenant.Series(meter.ID, "n") {
		if row.Value.Type != proto.KeyValueType_LONG_V || row.Value.Long != int64(i+1) {
			t.Errorf("row %d: %+v", i, row)
		}
	}
	if meter.Profile != "meter" {
		t.Errorf("%+v", meter)
	}

	// The gateway is notified of a new name, and goes on under the new one. It is notified of a
	// deletion, and introduces the device again, with its type and its name in the gateway. Its
	// answers to notices do not go to the cloud.
	answers := make(chan *proto.DeviceRpcCallMsg, 16)
	s.cloud.OnUplink(func(_ proto.UUID, u *proto.UplinkMsg) {
		for _, c := range u.DeviceRpcCallMsg {
			answers <- c
		}
	})
	n := 10
	value := func() {
		<-tick.C
		n++
		if _, err := fmt.Fprintf(c, "%d", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cloud.RenameDevice(meter.ID, "Meter 2"); err != nil {
		t.Fatal(err)
	}
	s.eventually("a value under the new name", func() bool {
		value()
		return len(tenant.Series(meter.ID, "n")) > 10
	})
	s.eventually("the last of them", func() bool {
		rows := tenant.Series(meter.ID, "n")
		return rows[len(rows)-1].Value.Long == int64(n)
	})
	if _, ok := s.named("Meter"); ok {
		t.Error("it goes on under the old name")
	}
	s.cloud.DeleteDevice(meter.ID)
	// A value that comes while the gateway forgets the device it sends without introducing it: it
	// strikes it off its lists one by one.
	s.eventually("the gateway has forgotten the device", func() bool {
		return bytes.Contains(logged(), []byte("was removed from __saved_devices"))
	})
	var again cloudtest.Device
	s.eventually("the device is made again", func() bool {
		value()
		var ok bool
		again, ok = s.named("Meter")
		return ok && len(tenant.Series(again.ID, "n")) > 0
	})
	if again.Profile != "meter" {
		t.Errorf("made again as %+v", again)
	}
	if _, ok := s.named("Meter 2"); ok {
		t.Error("it has not heard of the deletion")
	}
	select {
	case c := <-answers:
		t.Errorf("the cloud got an answer: %v", c)
	default:
	}
}
