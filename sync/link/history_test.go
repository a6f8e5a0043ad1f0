package link

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/sync/config"
)

// day is a morning in UTC, in milliseconds since the epoch, at an hour and a minute.
func day(d, hour, minute int) int64 {
	return time.Date(2026, 11, d, hour, minute, 20, 0, time.UTC).UnixMilli()
}

// past is an opened history whose writes are counted.
type past struct {
	*History
	dir    string
	log    bytes.Buffer
	writes int
}

func openPast(dir string, c *config.Cloud, env ...string) *past {
	p := &past{dir: dir}
	meter := func(_, bytes int64, fsyncs int) { p.writes++ }
	p.History = OpenHistory(dir, Way(c, environ(env...)), meter, slog.New(slog.NewTextHandler(&p.log, nil)))
	p.zone = time.UTC
	return p
}

// What worked, and until when, is known over a clean stop and over a power cut.
func TestHistoryOverRestarts(t *testing.T) {
	dir := t.TempDir()
	cloud := cloudAt("tb.example", 7070)
	begin := time.Now()
	p := openPast(dir, &cloud)
	if got := p.Past(day(30, 7, 0)); got != "" {
		t.Errorf("at first: %q", got)
	}
	p.Accepted(day(30, 7, 1), begin)
	if p = openPast(dir, &cloud); p.Past(day(30, 9, 0)) != "it worked at 07:01 UTC" {
		t.Errorf("after a power cut: %q", p.Past(day(30, 9, 0)))
	}
	p.Accepted(day(30, 7, 5), begin)
	p.Ended(day(30, 8, 1), begin)
	for now, want := range map[int64]string{
		day(30, 8, 2):  "it worked until 08:01 UTC",
		day(30, 23, 0): "it worked until 08:01 UTC",
		day(31, 0, 1):  "it worked until 2026-11-30 08:01 UTC",
		day(29, 23, 0): "it worked until 2026-11-30 08:01 UTC",
		0:              "it worked until 2026-11-30 08:01 UTC", // the time is not known
	} {
		if got := p.Past(now); got != want {
			t.Errorf("at %d: %q, want %q", now, got, want)
		}
	}
	p.Close()
	if p = openPast(dir, &cloud); p.Past(day(30, 9, 0)) != "it worked until 08:01 UTC" {
		t.Errorf("after a stop: %q", p.Past(day(30, 9, 0)))
	}
	p.Accepted(0, begin) // no clock
	if got := p.Past(day(30, 9, 0)); got != "it has worked before" {
		t.Errorf("without a time: %q", got)
	}
	p.zone = time.FixedZone("CET", 3600)
	p.Ended(day(30, 23, 30), begin)
	if got := p.Past(day(31, 0, 10)); got != "it worked until 00:30 CET" {
		t.Errorf("in another zone: %q", got)
	}
}

// The advice comes back with another host, port, TLS setting or proxy, and goes again with the one
// that has worked.
func TestHistoryOfOtherWays(t *testing.T) {
	dir := t.TempDir()
	first := cloudAt("tb.example", 7070)
	p := openPast(dir, &first)
	p.Accepted(day(30, 7, 1), time.Now())
	p.Ended(day(30, 8, 1), time.Now())
	p.Close()
	change := func(f func(c *config.Cloud)) *config.Cloud {
		c := first
		f(&c)
		return &c
	}
	for name, c := range map[string]*config.Cloud{
		"host":   change(func(c *config.Cloud) { c.Host = "tb.example.org" }),
		"port":   change(func(c *config.Cloud) { c.Port = 7071 }),
		"TLS":    change(func(c *config.Cloud) { c.TLS.Enabled = true }),
		"CA":     change(func(c *config.Cloud) { c.TLS = config.TLS{Enabled: true, CAFile: "/etc/ca.pem"} }),
		"server": change(func(c *config.Cloud) { c.TLS = config.TLS{Enabled: true, ServerName: "tb\n until"} }),
	} {
		if got := openPast(dir, c).Past(day(30, 9, 0)); got != "" {
			t.Errorf("another %s: %q", name, got)
		}
		q := openPast(dir, c)
		q.Accepted(day(30, 9, 0), time.Now())
		if got := openPast(dir, c).Past(day(30, 9, 0)); got != "it worked at 09:00 UTC" {
			t.Errorf("another %s that worked: %q", name, got)
		}
	}
	for _, env := range []string{"HTTPS_PROXY=gate:3128", "HTTPS_PROXY=gate:3129", "https_proxy=socks5://gate"} {
		if got := openPast(dir, &first, env).Past(day(30, 9, 0)); got != "" {
			t.Errorf("with %s: %q", env, got)
		}
	}
	same := change(func(c *config.Cloud) { c.RoutingKey, c.TLS.CAFile, c.Timeout = "other", "/unused", time.Hour })
	if got := openPast(dir, same, "NO_PROXY=x", "HTTP_PROXY=y").Past(day(30, 9, 0)); got != "it worked until 08:01 UTC" {
		t.Errorf("the first one: %q", got)
	}
	file, err := os.ReadFile(filepath.Join(dir, "link"))
	if err != nil || bytes.Contains(file, []byte("other")) || bytes.Count(file, []byte("\n")) != 7 {
		t.Errorf("%v: %s", err, file)
	}
	for port := range 3 * maxWays {
		c := cloudAt(strings.Repeat("x", 250), 1+port)
		q := openPast(dir, &c, "HTTPS_PROXY=ann:hush@"+strings.Repeat("y", 250))
		q.Accepted(day(30, 9, 0), time.Now())
		if q = openPast(dir, &c, "HTTPS_PROXY="+strings.Repeat("y", 250)); q.Past(day(30, 9, 0)) == "" {
			t.Errorf("way %d is forgotten", port)
		}
		if len(q.ways) > maxWays {
			t.Errorf("%d ways", len(q.ways))
		}
	}
	if file, err := os.ReadFile(filepath.Join(dir, "link")); err != nil || bytes.Contains(file, []byte("hush")) {
		t.Errorf("%v: the password is in the file: %s", err, file)
	}
}

// A link that comes and goes writes twice an hour at most, and one that stays does not write at
// all.
func TestHistorySparesFlash(t *testing.T) {
	cloud := cloudAt("tb.example", 7070)
	dir := t.TempDir()
	p := openPast(dir, &cloud)
	now := time.Now()
	for minute := range 24 * 60 { // a session a minute
		p.Accepted(day(30, 0, minute), now)
		now = now.Add(time.Minute)
		p.Ended(day(30, 0, minute+1), now)
		if got, want := p.Past(day(30, 0, minute+1)), "it worked until "; !strings.HasPrefix(got, want) {
			t.Fatal(got)
		}
		// What a power cut leaves is true, if not the whole truth.
		if minute%7 == 0 {
			q := openPast(dir, &cloud)
			if w := q.ways[0]; w.ended && w.at != day(30, 0, minute+1) || w.at > day(30, 0, minute+1) {
				t.Fatalf("minute %d: the file says %+v", minute, w)
			}
		}
	}
	if p.writes < 24 || p.writes > 49 {
		t.Errorf("%d writes in a day", p.writes)
	}
	p.Close()
	before := p.writes
	p.Close()
	q := openPast(dir, &cloud)
	q.Past(day(30, 9, 0))
	q.Close()
	if p.writes != before || q.writes != 0 {
		t.Errorf("%d and %d writes without a change", p.writes-before, q.writes)
	}
}

// A file that is damaged, missing or in the way costs the memory, and nothing else.
func TestHistoryOfADamagedFile(t *testing.T) {
	cloud := cloudAt("tb.example", 7070)
	way := Way(&cloud, environ())
	for _, text := range []string{
		"", "x", "edgesync link 2\nuntil 5 " + way + "\n", "edgesync link 1\nuntil five " + way + "\n",
		"edgesync link 1\nnever 5 " + way + "\n",
		"edgesync link 1\nuntil 5\n", "edgesync link 1\nuntil -5 " + way + "\n", "edgesync link 1\nuntil 99999999999999 " + way + "\n",
		"edgesync link 1\n" + strings.Repeat("at 5 "+way+"\n", maxWays+1), strings.Repeat("x", 1<<20), "edgesync link 1\nuntil 5 " + way,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "link"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := openPast(dir, &cloud)
		if got := p.Past(day(30, 9, 0)); got != "" || !strings.Contains(p.log.String(), "is damaged") {
			t.Errorf("%.40q: %q, log %q", text, got, p.log.String())
		}
		p.Accepted(day(30, 8, 0), time.Now())
		if p = openPast(dir, &cloud); p.Past(day(30, 9, 0)) != "it worked at 08:00 UTC" || p.log.Len() != 0 {
			t.Errorf("%.40q: not mended, log %q", text, p.log.String())
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "link", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := openPast(dir, &cloud)
	p.Accepted(day(30, 8, 0), time.Now())
	if p = openPast(dir, &cloud); p.Past(day(30, 9, 0)) != "it worked at 08:00 UTC" {
		t.Errorf("a directory in the way: %q, log %q", p.Past(day(30, 9, 0)), p.log.String())
	}
	p.path = filepath.Join(dir, "gone", "link")
	p.Ended(day(30, 8, 5), time.Now())
	p.Ended(day(30, 8, 6), time.Now())
	if n := strings.Count(p.log.String(), "level=WARN"); n != 1 || p.Past(day(30, 9, 0)) != "it worked until 08:06 UTC" {
		t.Errorf("a medium that takes nothing: %d warnings, %q", n, p.Past(day(30, 9, 0)))
	}
	var none *History
	none.Accepted(1, time.Now())
	none.Ended(1, time.Now())
	none.Close()
	if none.Past(1) != "" {
		t.Error("no history knows of a past")
	}
}

// While a way has never worked its failure comes with advice; afterwards with the time until which
// it worked. Advice that is not about the configuration stays.
func TestAdviceWhileItNeverWorked(t *testing.T) {
	const (
		worked = "it worked until 08:01 UTC"
		refuse = "the proxy gate:3128 does not let through to tb.example:7070 (403 Forbidden)"
		noALPN = "the TLS end of tb.example:7070 does not offer HTTP/2 (ALPN h2)"
		noCA   = "the server's certificate is signed by none of the trusted authorities"
		byNone = "x509: certificate signed by unknown authority"
		early  = "x509: certificate is not yet valid"
	)
	cloud := config.Cloud{Host: "tb.example", Port: 7070}
	attempt := func(text string) error { return &attemptError{errors.New(text), ""} }
	proxied := &tunnel{proxy: proxy{addr: "gate:3128", from: "HTTPS_PROXY"}, cloud: "tb.example:7070"}
	for _, c := range []struct {
		err          error
		never, after string
	}{
		{
			attempt("connect: connection refused"),
			"nothing listens there: check cloud.host and cloud.port, and that the server has edges enabled (connect: connection refused)",
			"nothing listens there; " + worked + " (connect: connection refused)",
		},
		{
			attempt("lookup tb.example: no such host"),
			"the name does not resolve: check cloud.host and this machine's DNS (lookup tb.example: no such host)",
			"the name does not resolve; " + worked + " (lookup tb.example: no such host)",
		},
		{
			&attemptError{fmt.Errorf("connect: %w (5s)", ErrTimeout), ""},
			"is a firewall in the way? (connect: no answer in time (5s))",
			worked + " (connect: no answer in time (5s))",
		},
		{
			attempt("error reading server preface: EOF"),
			"nothing that speaks plain gRPC answers there: wait if the server is starting; else set cloud.tls.enabled = true," +
				" or check cloud.port (error reading server preface: EOF)",
			"nothing that speaks plain gRPC answers there; " + worked + " (error reading server preface: EOF)",
		},
		{
			attempt(byNone),
			noCA + ": set cloud.tls.ca_file; or install the system's authorities " +
				"(ca-bundle on OpenWrt, ca-certificates on Debian) (" + byNone + ")",
			noCA + "; " + worked + " (" + byNone + ")",
		},
		{
			attempt("missing selected ALPN property."),
			noALPN + ": switch HTTP/2 on where TLS ends (the load balancer or web server in front)," +
				" or let it pass TLS through to ThingsBoard (missing selected ALPN property.)",
			noALPN + "; " + worked + " (missing selected ALPN property.)",
		},
		{
			attempt(early),
			"the server's certificate is not yet valid: is this machine's clock right? (" + early + ")",
			"the server's certificate is not yet valid: is this machine's clock right?; " + worked + " (" + early + ")",
		},
		{attempt("network is unreachable"), "network is unreachable", worked + " (network is unreachable)"},
		{attempt("something new"), "something new", worked + " (something new)"},
		{errors.New("transport is closing"), "transport is closing", "transport is closing"}, // the end of a session
		{ErrCleanEnd, "the cloud closed the stream", "the cloud closed the stream"},
		{
			proxied.judge([]byte("HTTP/1.1 403 no\r\n\r\n")),
			refuse + ": let it allow CONNECT to this host and port",
			refuse + "; " + worked,
		},
		{
			proxied.judge([]byte("HTTP/1.1 407 no\r\n\r\n")),
			"the proxy gate:3128 demands a user and a password (407 Proxy Authentication Required): write them into HTTPS_PROXY:" +
				" http://user:password@gate:3128",
			"the proxy gate:3128 demands a user and a password (407 Proxy Authentication Required): write them into HTTPS_PROXY:" +
				" http://user:password@gate:3128; " + worked,
		},
	} {
		if got := Explain(c.err, &cloud, ""); got != c.never {
			t.Errorf("never worked:\n%q\n%q", got, c.never)
		}
		if got := Explain(c.err, &cloud, worked); got != c.after {
			t.Errorf("has worked:\n%q\n%q", got, c.after)
		}
	}
}

// Whatever the file holds, it is read within bounds, and what is kept of it can be written and read
// again.
func FuzzHistory(f *testing.F) {
	f.Add("edgesync link 1\nuntil 1767225600000 \"tb:7070\" plain\nat 0 \"tb:7071\" tls \"\" \"\"\n")
	f.Add("edgesync link 1\nat 5 x\nat 5 x")
	f.Add("edgesync link 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		ways, ok := parseWays(text)
		if !ok {
			if ways != nil {
				t.Fatalf("%+v of a damaged file", ways)
			}
			return
		}
		if len(ways) > maxWays {
			t.Fatalf("%d ways", len(ways))
		}
		if got := formatWays(ways); got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
