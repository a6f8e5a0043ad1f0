package status

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// forwarding names the headers by which a proxy says that a request is somebody else's;
// X-Forwarded-* are more of them.
var forwarding = []string{"Forwarded", "Via", "X-Real-Ip"}

// local reports whether a request was made on this machine, by somebody who asked for this machine.
// What devices measure does not concern everyone who reaches the port: elsewhere the contents are
// left out. A proxy on this machine connects from loopback, and so does a browser here whose page
// comes from a name of the web that was made to point to 127.0.0.1 (DNS rebinding); the headers of
// the one and the Host of the other give them away.
func local(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !a.Addr().Unmap().IsLoopback() || !localHost(r.Host) {
		return false
	}
	for _, name := range forwarding {
		if r.Header[name] != nil {
			return false
		}
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			return false
		}
	}
	return true
}

// localHost reports whether a Host header names loopback: localhost, 127.0.0.0/8 or [::1], with a
// port or without.
func localHost(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if _, err := strconv.ParseUint(host[i+1:], 10, 16); err != nil {
			return false
		}
		host = host[:i]
	}
	if strings.EqualFold(host, "localhost") || host == "[::1]" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is4() && a.IsLoopback()
}
