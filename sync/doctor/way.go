package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"edgesync/sync/link"
)

const (
	reachLimit = 10 * time.Second // for the dial with TLS, at least
	pingLimit  = 10 * time.Second // for the answer to a ping, at least
	silence    = 8 * time.Second  // on the link before the second ping
	dateLimit  = 3 * time.Second  // for one answer with a date
	clockSlack = time.Minute      // that a clock may be off
)

// way takes the way to the cloud step by step.
func (x *examination) way() {
	proxied, ok := x.proxy()
	if !ok {
		return
	}
	if proxied {
		x.say("dns", Open, x.config.Cloud.Host+" is looked up by the proxy", "")
	} else {
		x.names(5 * time.Second)
	}
	ctx, cancel := context.WithTimeout(x.ctx, max(reachLimit, x.config.Cloud.Timeout))
	defer cancel()
	r, err := x.dialer.Reach(ctx)
	defer func() { r.Close() }()
	if r.Step == "" || err != nil && r.Step != "tls" {
		x.fault(r.Step, err)
		x.clock(nil)
		return
	}
	if proxied {
		x.say("proxy", Good, "lets through to "+x.dialer.Addr()+" after "+took(r.Took), "")
	} else {
		x.say("tcp", Good, r.At+" answers after "+took(r.Took), "")
	}
	x.encryption(r, err)
	if err == nil {
		x.http2(r)
	}
	x.clock(r.Chain)
}

// fault says what an error of the link means.
func (x *examination) fault(name string, err error) {
	d := link.Diagnose(err, &x.config.Cloud)
	switch {
	case d.What == "":
		d.What, d.Said = d.Said, ""
	case d.Said != "":
		d.What += " (" + d.Said + ")"
	}
	x.say(name, Bad, d.What, d.Cure)
}

// proxy looks for a proxy. ok: the way can be gone.
func (x *examination) proxy() (proxied, ok bool) {
	addr, from, ignored, err := x.dialer.Proxy()
	switch {
	case err != nil:
		x.fault("proxy", err)
		return false, false
	case addr != "":
		x.say("proxy", Open, from+" names "+addr, "")
	case ignored != "":
		x.say("proxy", Open, ignored, "")
	default:
		x.say("proxy", Open, "none", "")
	}
	return addr != "", true
}

// names looks up the cloud's name.
func (x *examination) names(limit time.Duration) {
	const name = "dns"
	host := x.config.Cloud.Host
	if ip, err := netip.ParseAddr(host); err == nil {
		if x.Emit != nil && ip.IsValid() {
			x.say(name, Open, host+" is an address: no name is needed", "")
		}
		return
	}
	lookup := x.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ctx, cancel := context.WithTimeout(x.ctx, limit)
	defer cancel()
	begin := x.Now()
	list, err := lookup(ctx, host)
	within := x.Now().Sub(begin)
	const rebind = "if the server is in your own network, the router's DNS leaves out private addresses (rebind protection): " +
		"on OpenWrt add the name to rebind_domain of dnsmasq; or write the address into cloud.host, and the name into cloud.tls.server_name"
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound, err == nil && len(list) == 0:
		x.say(name, Bad, "the name "+host+" has no address here", "check cloud.host; "+rebind)
		return
	case err != nil:
		x.say(name, Bad, "the name "+host+" cannot be looked up: "+err.Error(),
			"check this machine's DNS (/etc/resolv.conf), and that its server runs")
		return
	}
	texts := make([]string, 0, 4)
	private, blocked, here := false, false, false
	for _, ip := range list {
		ip = ip.Unmap()
		blocked = blocked || ip.IsUnspecified()
		here = here || ip.IsLoopback()
		private = private || ip.IsPrivate() || ip.IsLinkLocalUnicast()
		if len(texts) < cap(texts) {
			texts = append(texts, ip.String())
		}
	}
	found := host + " is " + strings.Join(texts, ", ")
	switch {
	case blocked:
		x.say(name, Bad, found+": no address, but the answer of a DNS that blocks the name",
			"allow the name in the DNS filter (adblock, AdGuard, Pi-hole); "+rebind)
	case here:
		x.say(name, Good, found+": this machine", "")
	case private:
		x.say(name, Good, found+" (private: the server must be in your own network), within "+took(within), "")
	default:
		x.say(name, Good, found+", within "+took(within), "")
	}
}

// encryption says what came of TLS.
func (x *examination) encryption(r *link.Reached, err error) {
	const name = "tls"
	c := &x.config.Cloud
	if !c.TLS.Enabled && err == nil {
		x.say(name, Open, "off: the link is not encrypted, the edge's secret included",
			"if port 7070 of your server speaks TLS, set cloud.tls.enabled = true")
		return
	}
	shown := chain(r.Chain)
	if err != nil {
		d := link.Diagnose(err, c)
		if d.What == "" {
			d.What, d.Said = d.Said, ""
		}
		if d.Said != "" {
			d.What += " (" + d.Said + ")"
		}
		if shown != "" {
			d.What += "; " + shown
		}
		if d.Cure == "" && len(r.Chain) > 0 && x.Now().After(r.Chain[0].NotAfter) {
			d.Cure = "renew the server's certificate, or set the clock if that is wrong (below)"
		}
		x.say(name, Bad, d.What, d.Cure)
		return
	}
	found := shown + "; " + r.ALPN
	if left := r.Chain[0].NotAfter.Sub(x.Now()); left < 14*24*time.Hour {
		x.say(name, Open, found, "it ends in "+plural(int(left.Hours()/24), "day")+": renew the server's certificate")
		return
	}
	x.say(name, Good, found, "")
}

// chain says what certificates the server shows.
func chain(list []*x509.Certificate) string {
	if len(list) == 0 {
		return ""
	}
	c := list[0]
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{"no host (" + c.Subject.CommonName + ")"}
	}
	more := ""
	if len(names) > 4 {
		more = ", …"
		names = names[:4]
	}
	return "the certificate names " + strings.Join(names, ", ") + more + ", is by " + issuer(list[len(list)-1]) + " (" +
		plural(len(list), "certificate") + " shown), and is valid from " + c.NotBefore.UTC().Format(time.DateOnly) + " to " +
		c.NotAfter.UTC().Format(time.DateOnly)
}

func issuer(c *x509.Certificate) string {
	switch {
	case c.Issuer.CommonName != "":
		return c.Issuer.CommonName
	case len(c.Issuer.Organization) > 0:
		return c.Issuer.Organization[0]
	}
	return "an authority without a name"
}

// http2 asks twice whether the other end of HTTP/2 is there, the second time after a silence: what
// lies between may forget a connection.
func (x *examination) http2(r *link.Reached) {
	const name = "http2"
	k := x.config.Keepalive
	patience := max(pingLimit, k.Timeout)
	rtt, err := r.Ping(0, x.left(patience))
	if err != nil {
		if errors.Is(err, link.ErrTimeout) {
			x.say(name, Bad, "nothing answers in HTTP/2",
				"is this the gRPC port of ThingsBoard (7070)? Check cloud.port, and cloud.tls.enabled")
			return
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			x.say(name, Bad, "the other end closes the connection instead of speaking HTTP/2",
				"is this the gRPC port of ThingsBoard (7070)? If it speaks TLS, set cloud.tls.enabled = true")
			return
		}
		x.fault(name, err)
		return
	}
	x.roused = true
	x.say("rtt", Good, took(rtt)+" there and back", "")
	quiet := x.Silence
	if quiet == 0 {
		quiet = min(silence, k.Time)
	}
	if x.left(quiet+patience) < quiet+patience {
		return
	}
	if _, err := r.Ping(quiet, patience); err != nil {
		x.say(name, Bad, "after "+took(quiet)+" of silence the connection was dead: "+err.Error(),
			"what lies between forgets connections: set keepalive.time to less than that, or raise the limit of the proxy or load balancer")
		return
	}
	found := "a ping after " + took(quiet) + " of silence is answered"
	do := ""
	if quiet < k.Time {
		do = "keepalive.time is " + k.Time.String() + ": edgesync doctor --long is silent for so long"
	}
	x.say(name, Good, found, do)
}

// clock compares the clock with that of the cloud's machine, as far as that can be learned.
func (x *examination) clock(shown []*x509.Certificate) {
	const name = "clock"
	const mend = "let NTP set the clock (ntpd, chrony, systemd-timesyncd), and check the time server"
	now := x.Now()
	text := now.UTC().Format(time.RFC3339)
	if now.Before(x.Built) {
		x.say(name, Bad, text+" is before this program was made", mend)
		return
	}
	if there, from, ok := x.date(); ok {
		off := now.Sub(there).Round(time.Second)
		found := text + "; by " + from + " it is " + there.UTC().Format(time.RFC3339)
		if off.Abs() > clockSlack {
			x.say(name, Bad, found+": "+off.Abs().String()+" off", mend)
			return
		}
		x.say(name, Good, found, "")
		return
	}
	switch {
	case len(shown) > 0 && (now.Before(shown[0].NotBefore) || now.After(shown[0].NotAfter)):
		x.say(name, Bad, text+" is outside of the time of the server's certificate", mend+", or renew that certificate")
	case x.Agent != nil && x.Agent.Clock == "cloud":
		x.say(name, Bad, text+"; the agent that runs does not believe that, and goes by the cloud's time", mend)
	case len(shown) > 0:
		x.say(name, Good, text+" is within the time of the server's certificate; nothing tells the exact time", "")
	default:
		x.say(name, Open, text+"; nothing tells the cloud's time", "")
	}
}

// date asks the web server of the cloud's machine for its time.
func (x *examination) date() (at time.Time, from string, ok bool) {
	hosts := x.Dates
	if hosts == nil {
		for _, port := range [...]string{"443", "80", "8080"} {
			hosts = append(hosts, net.JoinHostPort(x.config.Cloud.Host, port))
		}
	}
	for _, host := range hosts {
		if at, err := x.dateOf(host); err == nil {
			return at, "http at " + host, true
		}
	}
	return time.Time{}, "", false
}

func (x *examination) dateOf(host string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(x.ctx, dateLimit)
	defer cancel()
	conn, err := x.dialer.Dialled(ctx, host)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(dateLimit))
	name, port, _ := net.SplitHostPort(host)
	if port == "443" {
		// Nothing is told here and nothing believed but a date, and a wrong clock would refuse the
		// certificate.
		conn = tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); err != nil {
		return time.Time{}, err
	}
	lines := bufio.NewScanner(io.LimitReader(conn, 8<<10))
	for lines.Scan() && lines.Text() != "" {
		field, value, _ := strings.Cut(lines.Text(), ":")
		if strings.EqualFold(field, "Date") {
			return http.ParseTime(strings.TrimSpace(value))
		}
	}
	return time.Time{}, errors.New("no date from port " + strconv.Quote(port))
}
