package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                      nil,
		"  away 30s ":                           {"away", "30s"},
		`rpc "Device 1" set {"a": "b c"}`:       {"rpc", "Device 1", "set", `{"a":`, `"b`, `c"}`},
		`rename "Device 1" Boiler`:              {"rename", "Device 1", "Boiler"},
		`rename "Device 1" "The Boiler"` + "\r": {"rename", "Device 1", "The Boiler"},
	} {
		got, err := words(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, want)
		}
	}
	if _, err := words(`show "Device`); err == nil {
		t.Error("an open quote passed")
	}
}

func TestKeyValue(t *testing.T) {
	for text, want := range map[string]proto.KeyValueType{
		"true": proto.KeyValueType_BOOLEAN_V, "1": proto.KeyValueType_LONG_V, "1.5": proto.KeyValueType_DOUBLE_V,
		`{"a":1}`: proto.KeyValueType_JSON_V, "warm": proto.KeyValueType_STRING_V, "": proto.KeyValueType_STRING_V,
	} {
		if got := keyValue("k", text); got.Type != want {
			t.Errorf("%q: got %v, want %v", text, got.Type, want)
		}
	}
}

func TestCommands(t *testing.T) {
	quit := false
	out := &bytes.Buffer{}
	o := newOperator(cloudtest.New(cloudtest.Options{}), &printer{w: out}, func() { quit = true })
	srv := o.handler()
	post := func(line string) (int, string) {
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/command", strings.NewReader(line)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, tt := range []struct {
		line string
		code int
		want string
	}{
		{"refuse on", 200, `{"answer":"refuse on"}`},
		{"refuse maybe", 400, `{"error":"\"maybe\" is neither on nor off"}`},
		{"away soon", 400, `{"error":"away: \"soon\" is not a duration such as 30s"}`},
		{"away", 400, `{"error":"away wants 1 words behind it (help shows them)"}`},
		{"dropacks -1", 400, `{"error":"dropacks: \"-1\" is not a number from 0 on"}`},
		{"creations 30s Not today", 200, `{"answer":"creations 30s"}`},
		{"creations on", 200, `{"answer":"creations on"}`},
		{"creations 0s", 200, `{"answer":"creations 0s"}`},
		{"creations maybe", 400, `{"error":"creations: \"maybe\" is neither on nor a duration such as 30s"}`},
		{"limit devices 3", 200, `{"answer":"limit devices 3"}`},
		{"limit assets off", 200, `{"answer":"limit assets off"}`},
		{"limit devices -1", 400, `{"error":"limit: \"-1\" is neither off nor a number from 0 on"}`},
		{
			"limit lamps 3", 400,
			`{"error":"cloudtest: limit: no kind \"lamps\": devices, assets, views, dashboards, chains, users or fields"}`,
		},
		{"attrs 0", 400, `{"error":"attrs: \"0\" is not a number from 1 to 100"}`},
		{"attrs 101", 400, `{"error":"attrs: \"101\" is not a number from 1 to 100"}`},
		{"flood 1000", 200, `{"answer":"flood 1000"}`},
		{"flood off", 200, `{"answer":"flood off"}`},
		{"flood much", 400, `{"error":"flood: \"much\" is neither off nor a number from 0 to 8388608"}`},
		{"longsync 100 5s", 200, `{"answer":"longsync 100 5s"}`},
		{"longsync -1 0s", 200, `{"answer":"longsync -1 0s"}`},
		{"longsync 1 soon", 400, `{"error":"longsync: \"1\" is not a number from -1 on, or \"soon\" no duration such as 30s"}`},
		{"maxmessage 300", 200, `{"answer":"maxmessage 300"}`},
		{"maxmessage -1", 400, `{"error":"maxmessage: \"-1\" is not a number from 0 to 4194304"}`},
		{"package 1000", 200, `{"answer":"package: firmware 1000"}`},
		{"package much", 400, `{"error":"package: \"much\" is not a number from 0 to 134217728"}`},
		{"kick", 200, `{"answer":"ended 0 sessions"}`},
		{"show nobody", 400, `{"error":"no device \"nobody\""}`},
		{"dance", 400, `{"error":"unknown command \"dance\" (try help)"}`},
		{"quit", 200, `{"answer":""}`},
	} {
		if code, body := post(tt.line); code != tt.code || body != tt.want {
			t.Errorf("%s: got %d %s, want %d %s", tt.line, code, body, tt.code, tt.want)
		}
	}
	if !quit {
		t.Error("quit did not quit")
	}
	o.commands(strings.NewReader("ratelimit on\nnonsense\n"))
	if got := out.String(); got != "ratelimit on\nerror: unknown command \"nonsense\" (try help)\n" {
		t.Errorf("standard input: printed %q", got)
	}
}

// TestAttrs: attrs gives every device attributes of its own.
func TestAttrs(t *testing.T) {
	o := newOperator(cloudtest.New(cloudtest.Options{}), &printer{w: &bytes.Buffer{}}, func() {})
	o.addEdge(cloudtest.Edge{Name: "edge", RoutingKey: "k", Secret: "s"})
	for _, name := range []string{"b", "a"} {
		o.addDevice(o.edge, name, "token-of-"+name)
	}
	if answer, err := o.run("attrs 3"); err != nil || answer != "6 attributes of 2 devices set" {
		t.Errorf("got %q, %v", answer, err)
	}
	for i, d := range o.cloud.Tenant().Devices() {
		number, _, _ := o.cloud.Tenant().Attribute(d.ID, "SHARED_SCOPE", "attr-1")
		text, _, _ := o.cloud.Tenant().Attribute(d.ID, "SHARED_SCOPE", "attr-3")
		_, _, more := o.cloud.Tenant().Attribute(d.ID, "SHARED_SCOPE", "attr-4")
		if number.Long != int64(i) || text.Str != fmt.Sprintf("text 3 of device %d", i) || more {
			t.Errorf("%s, device %d, has %v, %q, and a fourth: %v", d.Name, i, number.Long, text.Str, more)
		}
	}
}

// TestChains: chains of files are assigned, changed, made root and unassigned.
func TestChains(t *testing.T) {
	o := newOperator(cloudtest.New(cloudtest.Options{}), &printer{w: &bytes.Buffer{}}, func() {})
	o.addEdge(cloudtest.Edge{Name: "edge", RoutingKey: "k", Secret: "s"})
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const export = `{"ruleChain":{"name":"Only hot"},"metadata":{"firstNodeIndex":0,"nodes":[{"type":"a.TbAckNode","name":"a",` +
		`"configuration":{}}],"connections":[]}}`
	hot, cold := write("hot.json", export), write("cold.json", strings.Replace(export, "hot", "cold", 1))
	bad, long := write("bad.json", `{}`), write("long.json", strings.Repeat(" ", cloudtest.MaxChain+2))
	const root = "Edge Root Rule Chain"
	for _, tt := range [][3]string{
		{"chains", root + " (root)"},
		{"chain " + hot, "chain: Only hot", root + " (root)\nOnly hot"},
		{"root " + cold, "root: Only cold", root + "\nOnly hot\nOnly cold (root)"},
		{"chain " + hot, "chain: Only hot", root + "\nOnly hot\nOnly cold (root)"},
		{`root "Only hot"`, "root: Only hot", root + "\nOnly cold\nOnly hot (root)"},
		{
			`unassign "Only hot"`,
			"error: cloudtest: Can't unassign root rule chain from edge [edge]. Please assign another root rule chain first!",
		},
		{`unassign "Only cold"`, "unassigned: Only cold", root + "\nOnly hot (root)"},
		{`unassign "Only cold"`, `error: the edge has no rule chain "Only cold"`},
		{"chain " + cold, "chain: Only cold", root + "\nOnly hot (root)\nOnly cold"},
		{"unassign", "unassigned: 2", root + " (root)"},
		{"root nothing.json", "error: open nothing.json: no such file or directory"},
		{"chain " + bad, "error: chain " + bad + `: cloudtest: no rule chain's export: it is an object with "ruleChain" and "metadata"`},
		{"chain " + long, "error: chain " + long + ": cloudtest: a rule chain of 4194305 bytes: at most 4194304"},
		{"chain", "error: chain wants 1 words behind it (help shows them)"},
		{"unassign a b", "error: unassign: too many words behind it (help shows them)"},
		{"chains x", "error: chains: too many words behind it (help shows them)"},
	} {
		answer, err := o.run(tt[0])
		if err != nil {
			answer = "error: " + err.Error()
		}
		if answer != tt[1] {
			t.Errorf("%s: got %q, want %q", tt[0], answer, tt[1])
		}
		if list, _ := o.run("chains"); tt[2] != "" && list != tt[2] {
			t.Errorf("%s: then there are %q, want %q", tt[0], list, tt[2])
		}
	}
}

// TestTLS connects to the cloud with the CA file that it wrote: TLS with ALPN h2 (CONTRACT.md 2.1).
func TestTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	cfg, err := selfSigned(file, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := cloudtest.New(cloudtest.Options{TLS: cfg})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- c.Serve(lis) }()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the CA file")
	}
	conn, err := tls.Dial("tcp", lis.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Errorf("protocol %q, want h2", p)
	}
	_ = conn.Close()
	c.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
