package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/sync/config"
)

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// server is a ThingsBoard as far as edges go. Its answers have the form of those that a ThingsBoard
// CE 4.3.1.3 gave.
type server struct {
	*httptest.Server
	edges   map[string]map[string]any
	asked   []string
	token   string
	answers []int // statuses to give first, instead of an answer, but to logins
}

func newServer(t *testing.T) *server {
	s := &server{edges: map[string]map[string]any{}, token: "token-1"}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"message":%q,"errorCode":31,"timestamp":1795462322732}`, status, message)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, r.Method+" "+r.URL.String())
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	_ = json.Unmarshal(body, &in)
	if r.URL.Path == "/api/auth/login" {
		if in["username"] != "tenant@thingsboard.org" || in["password"] != "pass-word" {
			refuse(w, 401, "Invalid username or password")
			return
		}
		fmt.Fprintf(w, `{"token":%q,"refreshToken":"r","scope":null}`, s.token)
		return
	}
	switch {
	case len(s.answers) > 0:
		status := s.answers[0]
		s.answers = s.answers[1:]
		refuse(w, status, "Too many requests for current tenant!")
	case r.Header.Get("X-Authorization") != "Bearer "+s.token:
		refuse(w, 401, "Token has expired")
	case r.Method == "GET" && r.URL.Path == "/api/tenant/edges":
		e, ok := s.edges[r.URL.Query().Get("edgeName")]
		if !ok {
			refuse(w, 404, "Requested item wasn't found!")
			return
		}
		_ = json.NewEncoder(w).Encode(e)
	case r.Method == "POST" && r.URL.Path == "/api/edge":
		key, _ := in["routingKey"].(string)
		secret, _ := in["secret"].(string)
		name, _ := in["name"].(string)
		switch {
		case !uuidForm.MatchString(key), len(secret) != 20, in["type"] != "default":
			refuse(w, 400, "Edge routing key should be specified!")
			return
		case s.edges[name] != nil:
			refuse(w, 400, "Edge with such name already exists!")
			return
		case len(s.edges) == 500:
			refuse(w, 403, "Edges limit reached")
			return
		}
		s.edges[name] = map[string]any{
			"id": map[string]any{"entityType": "EDGE", "id": fmt.Sprintf("8f0b96c0-e774-11f1-a01d-%012d",
				len(s.edges))}, "createdTime": int64(1795462322732),
			"tenantId":       map[string]any{"entityType": "TENANT", "id": "e54b4450-e76e-11f1-a921-83a0d2e65086"},
			"additionalInfo": nil, "label": nil,
			"rootRuleChainId": map[string]any{"entityType": "RULE_CHAIN", "id": "e5c81570-e76e-11f1-a921-83a0d2e65086"},
			"customerId":      map[string]any{"entityType": "CUSTOMER", "id": "13814000-1dd2-11b2-8080-808080808080"},
			"name":            name, "routingKey": key, "secret": secret, "type": "default", "version": 2,
		}
		_ = json.NewEncoder(w).Encode(s.edges[name])
	default:
		refuse(w, 404, "no such path")
	}
}

func (s *server) run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	env := func(string) string { return "pass-word" }
	err = run(context.Background(), append([]string{"-server", s.URL + "/", "-user", "tenant@thingsboard.org"}, args...), env, &out, &errs)
	return out.String(), errs.String(), err
}

// A table has a row for each edge, and a second call makes nothing twice.
func TestTable(t *testing.T) {
	s := newServer(t)
	_, _, err := s.run("-count", "12", "-prefix", "site a/", "-first", "99")
	if err == nil || len(s.asked) != 0 {
		t.Errorf("a slash in a name: %v, %q", err, s.asked)
	}
	first, errs, err := s.run("-count", "12", "-prefix", "site a-", "-first", "99")
	if err != nil || errs != "12 edges\n" {
		t.Fatalf("%v, %q", err, errs)
	}
	rows, err := csv.NewReader(strings.NewReader(first)).ReadAll()
	if err != nil || len(rows) != 13 || !slices.Equal(rows[0], []string{"name", "id", "routing_key", "routing_secret"}) {
		t.Fatalf("%v, %q", err, rows)
	}
	keys := map[string]bool{}
	for i, row := range rows[1:] {
		e := s.edges[row[0]]
		if row[0] != fmt.Sprintf("site a-%03d", 99+i) || e == nil || row[2] != e["routingKey"] ||
			row[3] != e["secret"] || keys[row[2]] || keys[row[3]] {
			t.Errorf("row %q of %v", row, e)
		}
		keys[row[2]], keys[row[3]] = true, true
	}
	if want := []string{
		"POST /api/auth/login", "GET /api/tenant/edges?edgeName=site+a-099",
		"POST /api/edge",
	}; !slices.Equal(s.asked[:3], want) {
		t.Errorf("asked %q", s.asked[:3])
	}
	again, _, err := s.run("-count", "12", "-prefix", "site a-", "-first", "99")
	if err != nil || again != first || len(s.edges) != 12 {
		t.Errorf("%v, %d edges, %q", err, len(s.edges), again)
	}
}

// The files of a gateway are read by edgesync as they were meant.
func TestFiles(t *testing.T) {
	s := newServer(t)
	names := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(names, []byte("north\n\n  south \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for form, place := range map[string]string{"uci": "etc/config/edgesync", "toml": "etc/edgesync/config.toml"} {
		dir := t.TempDir()
		out, _, err := s.run("-names", names, "-out", dir, "-form", form, "-set", "cloud.tls.enabled=true", "-set",
			"queue.max_bytes=64MiB", "-host", "tb.example.org")
		if err != nil || out != "" {
			t.Fatalf("%v, %q", err, out)
		}
		for _, name := range []string{"north", "south"} {
			for _, file := range []string{place, "etc/edgesync/secret"} {
				if info, err := os.Stat(filepath.Join(dir, name, file)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", file, info, err)
				}
			}
			secret, _ := os.ReadFile(filepath.Join(dir, name, "etc/edgesync/secret"))
			var f config.Flags
			f.UseFile(filepath.Join(dir, name, place))
			l, err := config.Load(&f, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := l.Config.Cloud
			if c.Host != "tb.example.org" || !c.TLS.Enabled || c.RoutingKey != s.edges[name]["routingKey"] || c.RoutingSecret != "" ||
				string(secret) != fmt.Sprint(s.edges[name]["secret"], "\n") || l.Config.Queue.MaxBytes != 64<<20 {
				t.Errorf("%s %s: %+v", form, name, c)
			}
		}
	}
}

// What a server refuses is said in its words, and what passes by itself is waited for.
func TestServersSay(t *testing.T) {
	s := newServer(t)
	var waited []time.Duration
	c, err := newClient(s.URL, "tenant@thingsboard.org", "pass-word")
	if err != nil {
		t.Fatal(err)
	}
	c.wait = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	s.answers = []int{429, 503, 502}
	if err := c.login(context.Background()); err != nil {
		t.Fatal(err)
	}
	e, err := c.ensure(context.Background(), "a", "default")
	if err != nil || !e.Made || !slices.Equal(waited, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}) {
		t.Errorf("%v, %+v, waited %v", err, e, waited)
	}
	s.token = "token-2" // the first one has ended
	if e, err = c.ensure(context.Background(), "a", "default"); err != nil || e.Made {
		t.Errorf("a token that has ended: %v, %+v", err, e)
	}
	for name, f := range map[string]func() error{
		"429": func() error {
			s.answers = []int{429, 429, 429, 429, 429, 429}
			_, err := c.ensure(context.Background(), "b", "default")
			return err
		},
		"403 Forbidden: \"You don't": func() error {
			s.answers = []int{403}
			_, err := c.ensure(context.Background(), "b", "default")
			return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "Too many requests for current tenant!", "You don't"))
		},
		"Invalid username or password": func() error {
			c, _ := newClient(s.URL, "tenant@thingsboard.org", "wrong-word")
			return c.login(context.Background())
		},
		"such as https://": func() error { _, err := newClient("tb.example.org", "u", "p"); return err },
		"is this its web address": func() error {
			page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }))
			defer page.Close()
			c, _ := newClient(page.URL, "u", "p")
			return c.login(context.Background())
		},
		"no such key":         func() error { _, _, err := s.run("-count", "1", "-set", "cloud.prot=1"); return err },
		"from 1 to 65535":     func() error { _, _, err := s.run("-count", "1", "-set", "cloud.port=0"); return err },
		"from 1 to 10000":     func() error { _, _, err := s.run("-count", "10001"); return err },
		"-count or -names":    func() error { _, _, err := s.run(); return err },
		"no such file":        func() error { _, _, err := s.run("-names", "/nowhere/x"); return err },
		"KEY=VALUE":           func() error { _, _, err := s.run("-set", "x"); return err },
		"that of a directory": func() error { _, _, err := s.run("-count", "1", "-prefix", "../x"); return err },
	} {
		err := f()
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "word\"") &&
			name[0] != 'I' || strings.Contains(err.Error(), "wrong-word") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
