package link

import (
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// proxy is an HTTP proxy that leads to the cloud.
type proxy struct {
	addr string // host and port
	auth string // the value of Proxy-Authorization; "" = the variable names no user
	from string // the variable that names the proxy
}

// route is the way to the cloud as the environment has it.
type route struct {
	proxy *proxy // nil = straight to the cloud
	// ignored says that the environment names a proxy which the link does not use; "" = it names
	// none.
	ignored string
}

// routeTo reads the environment through env, in which an unset variable is empty. The names in
// small letters come first, as in curl and in net/http. Whether the link is encrypted does not
// matter: a link over CONNECT is what HTTPS_PROXY stands for. Errors are of type *proxyError, and
// never hold the user or the password.
func routeTo(env func(string) string, host string, port int) (route, error) {
	get := func(name string) (value, from string) {
		for _, from := range [...]string{strings.ToLower(name), name} {
			if value := strings.TrimSpace(env(from)); value != "" {
				return value, from
			}
		}
		return "", ""
	}
	exceptions, _ := get("NO_PROXY")
	if excepted(exceptions, host, port) {
		return route{}, nil
	}
	if value, from := get("HTTPS_PROXY"); value != "" {
		p, err := parseProxy(value, from)
		return route{proxy: p}, err
	}
	for _, name := range [...]string{"HTTP_PROXY", "ALL_PROXY"} {
		if value, from := get(name); value != "" {
			which := "a proxy"
			if p, err := parseProxy(value, from); err == nil {
				which = "the proxy " + p.addr
			}
			return route{ignored: from + " names " + which + ", which the link to the cloud does not use: set HTTPS_PROXY"}, nil
		}
	}
	return route{}, nil
}

// maxProxy bounds the value of a variable that names a proxy, in bytes.
const maxProxy = 4 << 10

// parseProxy reads the value of the variable from: http://USER:PASSWORD@HOST:PORT, of which the
// host is enough. https:// is taken for http://: proxies that speak plain HTTP are often written
// so.
func parseProxy(value, from string) (*proxy, error) {
	bad := &proxyError{
		what: from + " is not the address of a proxy",
		cure: "write http://host:port or http://user:password@host:port," +
			" with %2F for /, %3F for ?, %23 for # and %25 for % in the password",
	}
	if len(value) > maxProxy {
		return nil, bad
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if u, err = url.Parse("http://" + value); err != nil {
			return nil, bad
		}
	}
	// A password with one of these signs in it ends the host early, and would stand in the address.
	if strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") || strings.HasPrefix(u.Path, "//") {
		return nil, bad
	}
	p := &proxy{from: from}
	port, common := u.Port(), ""
	socks := strings.HasPrefix(u.Scheme, "socks")
	switch {
	case u.Scheme == "http":
		common = "80"
	case u.Scheme == "https":
		common = "443"
	case socks:
		common = "1080"
	default:
		return nil, bad
	}
	if port == "" {
		port = common
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || !validHost(u.Hostname()) {
		return nil, bad
	}
	p.addr = net.JoinHostPort(u.Hostname(), port)
	if socks {
		return nil, &proxyError{
			what: from + " names the SOCKS proxy " + p.addr + ", and the link to the cloud can only use an HTTP proxy",
			cure: "set HTTPS_PROXY=http://host:port, or except the cloud with NO_PROXY",
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

func validHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c == 0x7f || c == '@' || c == '/' {
			return false
		}
	}
	return true
}

// excepted reports whether NO_PROXY, or what never has a proxy, says that the link goes straight to
// the cloud. The entries of the list stand behind commas or blanks: a name with all below it, a
// name behind a point or "*." for all below it only, an address, a network such as 10.0.0.0/8, and
// "*" for everything. A name or an address may have a port. This machine never has a proxy.
func excepted(list, host string, port int) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	ip = ip.Unmap()
	if host == "localhost" || ip.IsLoopback() {
		return true
	}
	split := func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }
	for _, entry := range strings.FieldsFunc(strings.ToLower(list), split) {
		if entry == "*" {
			return true
		}
		if network, err := netip.ParsePrefix(entry); err == nil {
			if isIP && network.Contains(ip) {
				return true
			}
			continue
		}
		name, only, err := net.SplitHostPort(entry)
		if err != nil {
			name, only = strings.Trim(entry, "[]"), ""
		}
		if only != "" && only != strconv.Itoa(port) {
			continue
		}
		if a, err := netip.ParseAddr(name); err == nil {
			if isIP && a.Unmap() == ip {
				return true
			}
			continue
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, "*"), ".")
		below := strings.TrimPrefix(name, ".")
		if below != "" && !isIP && (host == name || strings.HasSuffix(host, "."+below)) {
			return true
		}
	}
	return false
}
