package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgesync/sync/config"
)

// environ is an environment for a test; what is not named is not set.
func environ(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v
			}
		}
		return ""
	}
}

func TestProxyOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		value, addr, auth string
	}{
		{"http://gate.example:3128", "gate.example:3128", ""},
		{"gate.example:3128", "gate.example:3128", ""},
		{"gate.example", "gate.example:80", ""},
		{"10.0.0.1:3128", "10.0.0.1:3128", ""},
		{"  http://gate.example:3128/  ", "gate.example:3128", ""},
		{"HTTP://gate.example", "gate.example:80", ""},
		{"https://gate.example", "gate.example:443", ""},
		{"https://gate.example:3128", "gate.example:3128", ""},
		{"http://[2001:db8::7]:3128", "[2001:db8::7]:3128", ""},
		{"http://[2001:db8::7]", "[2001:db8::7]:80", ""},
		{"http://ann:pass@gate.example:3128", "gate.example:3128", "Basic YW5uOnBhc3M="},
		{"ann:pass@gate.example:3128", "gate.example:3128", "Basic YW5uOnBhc3M="},
		{"http://ann@gate.example:3128", "gate.example:3128", "Basic YW5uOg=="},
		{"http://DOM%5Cann:p%40ss%2Fw%3Ard@gate.example:3128", "gate.example:3128", "Basic RE9NXGFubjpwQHNzL3c6cmQ="},
		{"http://ann:p@ss@gate.example:3128", "gate.example:3128", "Basic YW5uOnBAc3M="},
	} {
		for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
			r, err := routeTo(environ(name+"="+c.value), "tb.example", 7070)
			if err != nil || r.proxy == nil || r.proxy.addr != c.addr || r.proxy.auth != c.auth || r.proxy.from != name || r.ignored != "" {
				t.Errorf("%s=%s: %+v, %v", name, c.value, r, err)
			}
		}
	}
	r, err := routeTo(environ("HTTPS_PROXY=great:1", "https_proxy=small:2"), "tb.example", 7070)
	if err != nil || r.proxy.addr != "small:2" || r.proxy.from != "https_proxy" {
		t.Errorf("of both spellings: %+v, %v", r.proxy, err)
	}
	if r, err := routeTo(environ("https_proxy=", "HTTPS_PROXY=great:1"), "tb.example", 7070); err != nil || r.proxy.addr != "great:1" {
		t.Errorf("an empty variable counts: %+v, %v", r.proxy, err)
	}
}

// What cannot be a proxy is an error that names the variable, and nothing of what may be a
// password.
func TestNoProxyThatCanBeUsed(t *testing.T) {
	long := strings.Repeat("x", 300) + ".example:1"
	for _, value := range []string{
		"http://ann:hush/hush@gate.example:3128", "http://ann:12/hush@gate.example:3128", "http://ann:12#hush@gate.example:3128",
		"http://ann:12?hush@gate.example:3128", "http://ann:hush%zz@gate.example:3128", "ann:hush/hush@gate.example:3128",
		"http://gate.example:hush", "http://gate.example:0", "http://gate.example:65536", "http://:3128", "http://", "hush://gate.example",
		"ftp://ann:hush@gate.example:21", "http://hush hush:1", "http://" + long, "http://ann:hush\r\n@gate.example:1", "//hush@x",
		"http://http://ann:hush@gate.example:3128", strings.Repeat("hush", 2000),
	} {
		r, err := routeTo(environ("HTTPS_PROXY="+value), "tb.example", 7070)
		if err == nil {
			t.Errorf("%.60q: %+v", value, r.proxy)
			continue
		}
		got := Explain(err, &config.Cloud{}, "")
		if !strings.HasPrefix(got, "HTTPS_PROXY is not the address of a proxy: write http://host:port") ||
			strings.Contains(got, "hush") || strings.Contains(got, "ann") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%.60q: %s", value, got)
		}
	}
	for value, want := range map[string]string{
		"socks5://ann:hush@gate.example:1080": "names the SOCKS proxy gate.example:1080, ",
		"socks5h://gate.example":              "names the SOCKS proxy gate.example:1080, ",
		"socks4://[2001:db8::7]:9":            "names the SOCKS proxy [2001:db8::7]:9, ",
		"SOCKS://10.0.0.1":                    "names the SOCKS proxy 10.0.0.1:1080, ",
	} {
		_, err := routeTo(environ("https_proxy="+value), "tb.example", 7070)
		if err == nil {
			t.Errorf("%s is used", value)
			continue
		}
		got := Explain(err, &config.Cloud{}, "")
		if !strings.HasPrefix(got, "https_proxy "+want) || !strings.Contains(got, "set HTTPS_PROXY=http://host:port") ||
			strings.Contains(got, "hush") {
			t.Errorf("%s: %s", value, got)
		}
	}
}

// A proxy that only other variables name is not used, and that is known.
func TestProxyThatIsIgnored(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{
			"HTTP_PROXY=http://gate.example:3128",
			"HTTP_PROXY names the proxy gate.example:3128, which the link to the cloud does not use: set HTTPS_PROXY",
		},
		{"http_proxy=gate.example", "http_proxy names the proxy gate.example:80, which"},
		{"ALL_PROXY=http://ann:hush@10.0.0.1:8", "ALL_PROXY names the proxy 10.0.0.1:8, which"},
		{"all_proxy=socks5://ann:hush@10.0.0.1:8", "all_proxy names a proxy, which"},
		{"HTTP_PROXY=http://ann:hush/x@gate", "HTTP_PROXY names a proxy, which"},
		{"FTP_PROXY=http://gate.example:3128", ""},
	} {
		r, err := routeTo(environ(c.env), "tb.example", 7070)
		if err != nil || r.proxy != nil || !strings.HasPrefix(r.ignored, c.want) || (c.want == "") != (r.ignored == "") ||
			strings.Contains(r.ignored, "hush") {
			t.Errorf("%s: %+v, %v", c.env, r, err)
		}
		r, err = routeTo(environ(c.env, "NO_PROXY=tb.example"), "tb.example", 7070)
		if err != nil || r != (route{}) {
			t.Errorf("%s with NO_PROXY: %+v, %v", c.env, r, err)
		}
	}
	r, err := routeTo(environ("HTTP_PROXY=plain:1", "HTTPS_PROXY=secure:2"), "tb.example", 7070)
	if err != nil || r.ignored != "" || r.proxy.addr != "secure:2" {
		t.Errorf("with both: %+v, %v", r, err)
	}
}

func TestNoProxy(t *testing.T) {
	for _, c := range []struct {
		list, host string
		want       bool
	}{
		{"", "tb.example", false},
		{"tb.example", "tb.example", true},
		{"tb.example", "TB.Example.", true},
		{"TB.EXAMPLE", "tb.example", true},
		{"example", "tb.example", true},
		{".example", "tb.example", true},
		{"*.example", "tb.example", true},
		{".tb.example", "tb.example", false},
		{"*.tb.example", "tb.example", false},
		{"b.example", "tb.example", false},
		{"tb.example.org", "tb.example", false},
		{"other, tb.example", "tb.example", true},
		{"other tb.example", "tb.example", true},
		{",,other,*", "tb.example", true},
		{"tb.example:7070", "tb.example", true},
		{"tb.example:443", "tb.example", false},
		{".example:7070", "tb.example", true},
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "11.1.2.3", false},
		{"10.0.0.0/8", "10.example", false},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3:7070", "10.1.2.3", true},
		{"10.1.2.3:70", "10.1.2.3", false},
		{"1.2.3", "10.1.2.3", false},
		{".2.3", "10.1.2.3", false},
		{"::ffff:10.1.2.3", "10.1.2.3", true},
		{"2001:db8::/32", "2001:db8::7", true},
		{"2001:db8::7", "2001:db8:0::7", true},
		{"[2001:db8::7]", "2001:db8::7", true},
		{"[2001:db8::7]:7070", "2001:db8::7", true},
		{"[2001:db8::7]:70", "2001:db8::7", false},
		{"2001:db8::8", "2001:db8::7", false},
		{"", "localhost", true},
		{"", "127.0.0.1", true},
		{"", "127.9.9.9", true},
		{"", "::1", true},
		{". * .. : [] /8 a/b 10.0.0.0/99", "tb.example", true}, // "*" is among them
		{". .. : [] /8 a/b 10.0.0.0/99 *. :7070", "tb.example", false},
	} {
		for _, name := range []string{"NO_PROXY", "no_proxy"} {
			r, err := routeTo(environ("HTTPS_PROXY=gate:1", name+"="+c.list), c.host, 7070)
			if err != nil || (r.proxy == nil) != c.want {
				t.Errorf("%s=%q, cloud.host %s: %+v, %v", name, c.list, c.host, r.proxy, err)
			}
		}
	}
}

// However a variable is written, no password gets into an error or into the address.
func FuzzProxyVariable(f *testing.F) {
	for _, v := range []string{
		"http://u:PASSWORD@gate:3128", "u:PASSWORD@gate", "http://u:12/PASSWORD@gate", "http://u:12#PASSWORD@gate",
		"socks5://PASSWORD@[::1]:9",
	} {
		f.Add(v, "tb.example", ".example,10.0.0.0/8,[::1]:7")
	}
	f.Fuzz(func(t *testing.T, value, host, except string) {
		r, err := routeTo(environ("HTTPS_PROXY="+value, "NO_PROXY="+except), host, 7070)
		var p *proxyError
		if err != nil && (!errors.As(err, &p) || r.proxy != nil) {
			t.Fatalf("%v, %+v", err, r)
		}
		// What stands before the last @ is user and password.
		before, _, found := strings.Cut(value, "@")
		if !found || len(before) < 8 || !strings.Contains(before, "PASSWORD") {
			return
		}
		shown := fmt.Sprint(err)
		if r.proxy != nil {
			shown += r.proxy.addr
		}
		if strings.Contains(shown, "PASSWORD") {
			t.Fatalf("%q shows %s", value, shown)
		}
	})
}
