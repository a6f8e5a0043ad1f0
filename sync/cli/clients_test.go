package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// Programs that were written for ThingsBoard, unchanged but for the address. They wait more than they work, so they run side by side.

// program is one program from the distribution; the test is skipped where it is missing.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here; on Debian: apt-get install %s", name, debian)
	}
	return path
}

// synced starts an agent that knows its devices.
func (s *site) synced() *running {
	s.Helper()
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	return r
}

// named is the device of that name in the cloud.
func (s *site) named(name string) (d cloudtest.Device, ok bool) {
	for _, d := range s.cloud.Tenant().Devices() {
		if d.Name == name {
			return d, true
		}
	}
	return d, false
}

func (s *site) mustBeNamed(name string) cloudtest.Device {
	s.Helper()
	var d cloudtest.Device
	s.eventually("the cloud knows "+name, func() bool {
		var ok bool
		d, ok = s.named(name)
		return ok
	})
	return d
}

// arrived waits until the cloud has so many rows of a key.
func (s *site) arrived(d cloudtest.Device, key string, rows int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d rows of %s of %s", rows, key, d.Name), func() bool { return len(s.cloud.Tenant().Series(d.ID, key)) == rows })
}

func (s *site) share(d cloudtest.Device, key string, value bool) {
	s.cloud.SetSharedAttributes(d.ID, []*proto.KeyValueProto{{Key: key, Type: proto.KeyValueType_BOOLEAN_V, BoolV: value}}, true)
}

func TestMosquittoClients(t *testing.T) {
	t.Parallel()
	pub, sub := program(t, "mosquitto_pub", "mosquitto-clients"), program(t, "mosquitto_sub", "mosquitto-clients")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	host, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	d := s.mustBeNamed("station 0")
	n := 0
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			n++
			out, err := exec.Command(pub, "-V", version, "-h", host, "-p", port, "-u", "token-0", "-i", "client", "-q", qos, "-t", "v1/devices/me/telemetry",
				"-m", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1000+n, n)).CombinedOutput()
			if err != nil {
				t.Errorf("%s, QoS %s: %v\n%s", version, qos, err, out)
			}
		}
		out, err := exec.Command(pub, "-V", version, "-h", host, "-p", port, "-u", "wrong", "-t", "v1/devices/me/telemetry", "-m", "{}").CombinedOutput()
		if err == nil {
			t.Errorf("%s: a wrong token is let in\n%s", version, out)
		}
	}

	// Each connection has taken over from the one before, and nothing of that is lost.
	s.arrived(d, "n", n)

	// A subscriber gets what the cloud changes; so the first line ends it.
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		var said, errs bytes.Buffer
		cmd := exec.Command(sub, "-V", version, "-h", host, "-p", port, "-u", "token-1", "-i", "client", "-q", "1", "-t", "v1/devices/me/attributes", "-C", "1", "-W", "20", "-d")
		cmd.Stdout, cmd.Stderr = &said, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		station := s.mustBeNamed("station 1")
		// The subscription shows in nothing that can be waited for, so the attribute is set until it is seen; the same value again counts.
		tick := time.NewTicker(200 * time.Millisecond)
		for ended := false; !ended; {
			select {
			case err := <-done:
				ended = true
				if !strings.Contains(said.String(), `{"fan":true}`) {
					t.Errorf("%s: %v, %s%s", version, err, said.String(), errs.String())
				}
			case <-tick.C:
				s.share(station, "fan", true)
			}
		}
		tick.Stop()
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl", "curl")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	ask := func(args ...string) string {
		t.Helper()
		path := args[0]
		out, err := exec.Command(curl, append([]string{"-sS", "--fail-with-body", "--max-time", "20", "http://" + r.http + "/api/v1/token-0/" + path}, args[1:]...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	d := s.mustBeNamed("station 0")
	ask("telemetry", "-d", `{"ts":1000,"values":{"n":"42"}}`)
	s.arrived(d, "n", 1)
	ask("attributes", "-H", "Content-Type: application/json", "-d", `{"fw":"1.2x"}`)
	if got := ask("attributes?clientKeys=fw"); got != `{"client":{"fw":"1.2x"}}` {
		t.Errorf("attributes: %s", got)
	}
	// A long poll answers a command of the cloud.
	answer := make(chan string, 1)
	go func() {
		got, err := s.cloud.CallRPC(context.Background(), d.ID, "setGpio", `{"pin":1}`, false, 20*time.Second)
		answer <- fmt.Sprint(got, err)
	}()
	id, rest, _ := strings.Cut(strings.TrimPrefix(ask("rpc?timeout=20000"), `{"id":`), ",")
	if want := `"method":"setGpio","params":{"pin":1}}`; rest != want {
		t.Errorf("rpc: %s, want %s", rest, want)
	}
	ask("rpc/"+id, "-d", `{"ok":true}`)
	if got := <-answer; got != `{"ok":true}<nil>` {
		t.Errorf("the cloud got %s", got)
	}
}

// A claim is in the list of what the cloud did not take, with its reason and without its secret.
func TestClaim(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	d := s.mustBeNamed("station 0")
	res, err := http.Post("http://"+r.http+"/api/v1/token-0/claim", "application/json", strings.NewReader(`{"secretKey":"hush-hush","durationMs":60000}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s.eventually("the claim is recorded", func() bool { return r.snapshot().Dead == 1 })
	balanced(t, r.snapshot())
	run := func(args ...string) string {
		t.Helper()
		out, err := s.command(args...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	list := run("dead", "list")
	if !strings.Contains(list, "CLAIM") || !strings.Contains(list, proto.FormatUUID(d.ID)) || !strings.Contains(list, "cannot be transferred to the cloud") || !strings.Contains(list, "rests") {
		t.Errorf("dead list:\n%s", list)
	}
	offset := strings.Fields(strings.Split(list, "\n")[1])[0]
	if show := run("dead", "show", offset); !strings.Contains(show, `"durationMs": 60000`) || !strings.Contains(show, "***") {
		t.Errorf("dead show:\n%s", show)
	}
	texts := []string{list, run("dead", "show", offset), run("wal", "dump", "--all", "--json")}
	if got := run("wal", "dump", "--action", "CLAIM"); !strings.Contains(got, "DEAD") {
		t.Errorf("wal dump: %q", got)
	}
	r.kill() // its log grows no more
	for _, text := range append(texts, r.log.String()) {
		if strings.Contains(text, "hush") {
			t.Errorf("the secret is in\n%s", text)
		}
	}
}

// venv is a virtual environment of Python with these packages, below build/ and made once. The test is skipped where they cannot be had.
func venv(t *testing.T, name, module string, packages ...string) (python string) {
	t.Helper()
	if testing.Short() {
		t.Skip("installs Python packages")
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "build", name))
	if err != nil {
		t.Fatal(err)
	}
	python = filepath.Join(dir, "bin", "python")
	if exec.Command(python, "-c", "import mmh3, "+module).Run() == nil {
		return python
	}
	if out, err := exec.Command(program(t, "python3", "python3-venv"), "-m", "venv", dir).CombinedOutput(); err != nil {
		t.Skipf("no virtual environment can be made: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// mmh3 is what the SDK would install by itself when it is first used.
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "mmh3"}, packages...)
	if out, err := exec.CommandContext(ctx, python, args...).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be installed from the Python registry: %v\n%s", packages, err, out)
	}
	return python
}

// drive runs a program that says "ready" when the cloud may act, and "ok" at its end.
func drive(t *testing.T, during func(), name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if last = lines.Text(); last == "ready" {
			during()
		}
	}
	if err := cmd.Wait(); err != nil || last != "ok" {
		t.Errorf("%s %q: %v, %s\n%s", name, args, err, last, log.String())
	}
}

func TestPahoGo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("downloads a Go module")
	}
	bin := filepath.Join(t.TempDir(), "paho")
	if out, err := exec.Command("go", "build", "-C", filepath.Join("..", "..", "scripts", "clients", "paho"), "-o", bin, ".").CombinedOutput(); err != nil {
		t.Skipf("the client cannot be built, most likely because its module cannot be had: %v\n%s", err, out)
	}
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	d := s.mustBeNamed("station 0")
	answer := make(chan string, 1)
	drive(t, func() {
		s.arrived(d, "n", 500)
		s.share(d, "fan", true)
		go func() {
			got, err := s.cloud.CallRPC(context.Background(), d.ID, "setGpio", `{"pin":1}`, false, 20*time.Second)
			answer <- fmt.Sprint(got, err)
		}()
	}, bin, r.snapshot().MQTTAddress, "token-0")
	select {
	case got := <-answer:
		if got != `{"did":"it"}<nil>` {
			t.Errorf("the cloud got %s", got)
		}
	case <-time.After(25 * time.Second):
		t.Error("the cloud got no answer")
	}
}

// sdk is the program that drives ThingsBoard's Python SDK.
func sdk(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "scripts", "clients", "sdk.py"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPythonSDK(t *testing.T) {
	t.Parallel()
	python := venv(t, "venv", "tb_gateway_mqtt", "tb-mqtt-client==1.13.13")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	tenant := s.cloud.Tenant()
	s.cloud.AddDevice(s.edge.ID, cloudtest.Device{ID: tenant.NewID(), Name: "gateway", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-g", Gateway: true})
	s.cloud.AnswerRPC(func(m *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
		return &proto.RpcResponseMsg{Response: `{"time":5}`}
	})
	r := s.synced()
	_, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	run := func(role, secret string, during func()) {
		t.Helper()
		drive(t, during, python, sdk(t), role, port, secret)
	}
	called := make(chan string, 1)
	call := func(d cloudtest.Device, method, params string) {
		go func() {
			got, err := s.cloud.CallRPC(context.Background(), d.ID, method, params, false, 20*time.Second)
			called <- fmt.Sprint(got, err)
		}()
	}

	d := s.mustBeNamed("station 0")
	run("device", "token-0", func() {
		s.arrived(d, "n", 50)
		s.share(d, "fan", true)
		call(d, "setGpio", `{"pin":1}`)
	})
	answered := func(want string) {
		t.Helper()
		select {
		case got := <-called:
			if got != want+"<nil>" {
				t.Errorf("the cloud got %s", got)
			}
		case <-time.After(25 * time.Second):
			t.Errorf("the cloud got nothing, want %s", want)
		}
	}
	answered(`{"did":"setGpio"}`)

	run("gateway", "token-g", func() {
		for _, name := range []string{"Sensor A", "Sensor B"} {
			s.arrived(s.mustBeNamed(name), "n", 20)
		}
		s.share(s.mustBeNamed("Sensor A"), "fan", true)
		call(s.mustBeNamed("Sensor A"), "setMode", `"eco"`)
	})
	answered(`{"did":"setMode"}`)
	if d := s.mustBeNamed("Sensor A"); d.Profile != "thermometer" {
		t.Errorf("%+v", d)
	}

	profile := tenant.NewID()
	msb, lsb := proto.Halves(profile)
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
		MsgType: proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb,
		Entity: fmt.Sprintf(`{"id":{"entityType":"DEVICE_PROFILE","id":%q},"name":"newborns","type":"DEFAULT","transportType":"DEFAULT",
			"provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"key","profileData":{"provisionConfiguration":{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":"secret"}}}`,
			proto.FormatUUID(profile)),
	}}})
	s.eventually("the profile is here", func() bool {
		code, body := provisionOnce(r.http)
		return code == 200 && !strings.Contains(body, "NOT_FOUND")
	})
	run("provision", "key:secret", func() {})
	s.arrived(s.mustBeNamed("Newborn"), "n", 1)
	balanced(t, r.snapshot())
}

// provisionOnce provisions a device over HTTP.
func provisionOnce(addr string) (int, string) {
	res, err := http.Post("http://"+addr+"/api/v1/provision", "application/json", strings.NewReader(`{"deviceName":"First","provisionDeviceKey":"key","provisionDeviceSecret":"secret"}`))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// ThingsBoard's own gateway, with a connector that listens on a socket: what comes in there is in the cloud, under a device that nobody made.
func TestThingsBoardGateway(t *testing.T) {
	t.Parallel()
	python := venv(t, "gateway-venv", "thingsboard_gateway", "thingsboard-gateway==3.8.5")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	tenant := s.cloud.Tenant()
	s.cloud.AddDevice(s.edge.ID, cloudtest.Device{ID: tenant.NewID(), Name: "gateway", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-g", Gateway: true})
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

	// It is told of a new name, and goes on under that one; it is told of a deletion, and introduces the device again, with its type and under the name
	// that it has there. Its answers are for nobody.
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
	// A value that comes while the gateway forgets the device it sends without introducing it: it strikes it off its lists one by one.
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
