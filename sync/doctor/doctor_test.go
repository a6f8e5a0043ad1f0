package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
	"edgesync/sync/config"
	"edgesync/wal/medium"
)

const hush = "s3cr3t-of-the-edge"

// bed is a cloud in a box, and what the doctor looks at.
type bed struct {
	*testing.T
	cloud *cloudtest.Cloud
	edge  cloudtest.Edge
	Options
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, cloud: cloudtest.New(cloudtest.Options{})}
	b.Loaded = &config.Loaded{Config: config.Defaults()}
	c := &b.Loaded.Config
	c.DataDir = t.TempDir()
	c.HTTP.Listen, c.MQTT.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Cloud.RoutingKey, c.Cloud.RoutingSecret = "key", hush
	c.Cloud.Host = "127.0.0.1"
	c.Keepalive.Time = time.Millisecond // that the link is silent for
	b.Watch = 50 * time.Millisecond
	b.Dates = []string{}
	b.Env = func(string) string { return "" }
	return b
}

// port gives the cloud the edge, and a port.
func (b *bed) port() {
	b.Helper()
	cloud := b.cloud
	b.edge = cloudtest.Edge{
		ID: cloud.Tenant().NewID(), Name: "an edge", Type: "default", RoutingKey: "key", Secret: hush,
		Customer: proto.NullUUID, Created: time.Now().Add(-time.Hour),
	}
	cloud.Tenant().AddEdge(b.edge)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go cloud.Serve(lis)
	b.Cleanup(cloud.Stop)
	b.Loaded.Config.Cloud.Port = lis.Addr().(*net.TCPAddr).Port
}

// examine runs and returns the checks by their names; of several with one name, the worst.
func (b *bed) examine() (map[string]Check, *Report) {
	b.Helper()
	found := make(map[string]Check)
	var printed strings.Builder
	b.Emit = func(c Check) { printed.WriteString(c.Text()) }
	r := Run(b.Context(), b.Options)
	for _, c := range r.Checks {
		if old, ok := found[c.Name]; !ok || c.State > old.State {
			found[c.Name] = c
		}
	}
	if strings.Contains(printed.String(), hush) {
		b.Errorf("the secret is shown:\n%s", &printed)
	}
	for line := range strings.Lines(printed.String()) {
		if n := len([]rune(line)) - 1; n > 80 && len(strings.Fields(line)) > 3 { // a path is one word
			b.Errorf("%d columns: %s", n, line)
		}
	}
	b.Logf("\n%s", &printed)
	return found, r
}

// want compares one check: its state, and words of it.
func want(t *testing.T, found map[string]Check, name string, state State, texts ...string) {
	t.Helper()
	c, ok := found[name]
	if !ok || c.State != state {
		t.Errorf("%s: %q, want state %q", name, c, words[state])
	}
	for _, w := range texts {
		if !strings.Contains(c.Found+" | "+c.Do, w) {
			t.Errorf("%s: found %q, do %q, want %q", name, c.Found, c.Do, w)
		}
	}
}

func TestAllIsWell(t *testing.T) {
	b := newBed(t)
	b.port()
	found, r := b.examine()
	if !r.OK {
		t.Error("not well")
	}
	want(t, found, "configuration", Good)
	want(t, found, "data_dir", Good, "free of")
	want(t, found, "commit", Good, "fsync")
	want(t, found, "http.listen", Good, "is free")
	want(t, found, "mqtt.listen", Good, "is free")
	want(t, found, "memory", Good)
	want(t, found, "proxy", Open, "none")
	want(t, found, "tcp", Good, "127.0.0.1")
	want(t, found, "tls", Open, "not encrypted")
	want(t, found, "rtt", Good)
	want(t, found, "http2", Good, "is answered")
	want(t, found, "key", Good, `"an edge"`)
	want(t, found, "server", Good, "4096 KiB")
	want(t, found, "bandwidth", Good, "upward")
	want(t, found, "other agent", Good)
	if names, _ := os.ReadDir(b.Loaded.Config.DataDir); len(names) > 0 {
		t.Errorf("left in data_dir: %v", names)
	}
}

// Each fault of the machine is named, with what to do.
func TestMachineFaults(t *testing.T) {
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	self := filepath.Base(os.Args[0])
	fs := func(m medium.Medium) func(*bed) {
		return func(b *bed) {
			m.Free, m.Total = max(m.Free, 1), 64<<20
			b.Medium = func(string) (medium.Medium, error) { return m, nil }
		}
	}
	for name, c := range map[string]struct {
		set   func(*bed)
		check string
		state State
		words []string
	}{
		"tmpfs": {
			fs(medium.Medium{FS: "tmpfs", RAM: true, Free: 1 << 25}),
			"data_dir", Bad,
			[]string{"a power cut loses", "set data_dir to flash"},
		},
		"read-only": {
			fs(medium.Medium{FS: "ext4", ReadOnly: true, Free: 1 << 25}),
			"data_dir", Bad,
			[]string{"mounted read-only", "kernel"},
		},
		"full": {fs(medium.Medium{FS: "ext4", Free: 1 << 18}), "data_dir", Bad, []string{"this is full", "make room"}},
		"vfat": {fs(medium.Medium{FS: "vfat", Free: 1 << 25}), "data_dir", Good, nil},
		"a file in the way": {func(b *bed) {
			file := filepath.Join(b.Loaded.Config.DataDir, "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				b.Fatal(err)
			}
			b.Loaded.Config.DataDir = filepath.Join(file, "below")
		}, "data_dir", Bad, []string{"not a directory", "another directory"}},
		"no directory yet": {func(b *bed) { b.Loaded.Config.DataDir += "/a/b" }, "data_dir", Good, []string{"will be made"}},
		"port taken": {
			func(b *bed) { b.Loaded.Config.MQTT.Listen = here.Addr().String() },
			"mqtt.listen", Bad,
			[]string{"is taken by ", self[:min(len(self), 15)] + " (process " + fmt.Sprint(os.Getpid()) + ")", "set mqtt.listen"},
		},
		"no such address": {
			func(b *bed) { b.Loaded.Config.HTTP.Listen = "192.0.2.1:8080" },
			"http.listen", Bad,
			[]string{"does not have that address", `":8080"`},
		},
		"our own agent has it": {func(b *bed) {
			b.Loaded.Config.MQTT.Listen = here.Addr().String()
			b.Agent = &agent.Snapshot{Running: true, MQTTAddress: here.Addr().String()}
		}, "mqtt.listen", Good, []string{"the agent that runs has"}},
		"control group": {func(b *bed) {
			b.Root = b.TempDir()
			for path, text := range map[string]string{
				"proc/meminfo": "MemTotal: 128000 kB\nMemAvailable: 64000 kB\n", "proc/self/cgroup": "0::/a/b\n",
				"sys/fs/cgroup/a/memory.max": "20971520\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			} {
				path = filepath.Join(b.Root, path)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					b.Fatal(err)
				}
			}
		}, "memory", Bad, []string{"a control group allows 20 MiB", "raise the limit"}},
		"configuration": {
			func(b *bed) {
				b.Fault = &config.Error{Problems: []error{errors.New("cloud.routing_key is missing: copy it")}}
			},
			"configuration", Bad,
			[]string{"cloud.routing_key is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			c.set(b)
			found, r := b.examine()
			want(t, found, c.check, c.state, c.words...)
			if r.OK && c.state == Bad {
				t.Error("said to be well")
			}
		})
	}
}

// The traps of a file system are said, and are no fault.
func TestTraps(t *testing.T) {
	b := newBed(t)
	b.Medium = func(string) (medium.Medium, error) {
		return medium.Medium{FS: "vfat", Free: 1 << 30, Total: 1 << 31}, nil
	}
	_, r := b.examine()
	for _, c := range r.Checks {
		if c.Name == "data_dir" && c.State == Open && strings.Contains(c.Found, "which has no owners") {
			return
		}
	}
	t.Errorf("nothing of it in %+v", r.Checks)
}

// The answers of DNS are told apart.
func TestNames(t *testing.T) {
	at := func(list ...string) func(context.Context, string) ([]netip.Addr, error) {
		return func(context.Context, string) (ips []netip.Addr, err error) {
			for _, a := range list {
				ips = append(ips, netip.MustParseAddr(a))
			}
			return ips, nil
		}
	}
	fails := func(err error) func(context.Context, string) ([]netip.Addr, error) {
		return func(context.Context, string) ([]netip.Addr, error) { return nil, err }
	}
	for name, c := range map[string]struct {
		lookup func(context.Context, string) ([]netip.Addr, error)
		state  State
		words  []string
	}{
		"found":   {at("203.0.113.7", "2001:db8::1"), Good, []string{"tb.example is 203.0.113.7, 2001:db8::1"}},
		"private": {at("192.168.1.7"), Good, []string{"your own network"}},
		"blocked": {at("0.0.0.0"), Bad, []string{"blocks the name", "rebind_domain"}},
		"empty":   {at(), Bad, []string{"has no address", "rebind protection", "rebind_domain"}},
		"unknown": {
			fails(&net.DNSError{Err: "no such host", Name: "tb.example", IsNotFound: true}),
			Bad,
			[]string{"has no address", "rebind"},
		},
		"gone": {
			fails(&net.DNSError{Err: "connection refused", Name: "tb.example", Server: "127.0.0.1:53"}),
			Bad,
			[]string{"cannot be looked up", "/etc/resolv.conf"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.Loaded.Config.Cloud.Host = "tb.example"
			b.Lookup = c.lookup
			x := newExamination(t.Context(), &b.Options)
			x.names(time.Second)
			want(t, map[string]Check{"dns": x.report.Checks[0]}, "dns", c.state, c.words...)
		})
	}
}

// What Local finds is a warning, and nothing is written.
func TestLocal(t *testing.T) {
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	b := newBed(t)
	c := &b.Loaded.Config
	c.DataDir += "/new"
	c.HTTP.Listen = here.Addr().String()
	c.Cloud.Host = "tb.example"
	b.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	got := Local(t.Context(), b.Options)
	if len(got) != 2 || !strings.HasPrefix(got[0], "http.listen: ") || !strings.HasPrefix(got[1], "dns: the name tb.example") {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(c.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

func TestListener(t *testing.T) {
	const line = "   1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 " +
		"00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0"
	for _, c := range []struct {
		line  string
		port  int
		inode string
		ok    bool
	}{
		{line, 8080, "4711", true},
		{line, 8081, "4711", false},
		{strings.Replace(line, " 0A ", " 01 ", 1), 8080, "", false}, // a connection
		{"  sl  local_address rem_address   st", 8080, "", false},
		{"", 8080, "", false},
	} {
		if inode, ok := listener(c.line, c.port); inode != c.inode || ok != c.ok {
			t.Errorf("%q %d: %q, %v", c.line, c.port, inode, ok)
		}
	}
}

// An agent that cannot open a door says who has it.
func TestClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listen := l.Addr().String()
	_, err = net.Listen("tcp", listen)
	err = Closed("mqtt.listen", listen, err)
	words := fmt.Sprintf("(process %d); stop that, or set mqtt.listen to another port: ", os.Getpid())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "mqtt.listen: "+listen+" is taken by ") ||
		!strings.Contains(err.Error(), words) {
		t.Error(err)
	}
}
