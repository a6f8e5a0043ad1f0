package link

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
	"edgesync/sync/config"
)

// What an attempt or a session can end with, beside the errors of gRPC.
var (
	// ErrTimeout is an attempt whose dial, or whose answer to CONNECT, took longer than the timeout
	// of Open.
	ErrTimeout = errors.New("no answer in time")
	// ErrCleanEnd is the end of the stream with status OK: a second session of this edge, or a
	// message that the server could not take (CONTRACT.md 2.5, 2.6).
	ErrCleanEnd = errors.New("the cloud closed the stream")
)

// RefusedError is a connect request that the server answered with another code than ACCEPTED
// (CONTRACT.md 2.3).
type RefusedError struct {
	Code proto.ConnectResponseCode
	Text string // the server's words, with the secret removed
}

// Error is the server's answer in one sentence.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the cloud answered %v: %s", e.Code, e.Text)
}

// maxLine bounds in bytes what FirstLine leaves of a text.
const maxLine = 300

// FirstLine returns the first line of a text of the server, without the stack trace behind it, at
// most 300 bytes.
func FirstLine(s string) string {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = strings.Clone(s[:i]) // so that the rest does not stay in memory
	}
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}

// Redact removes the secret from a text of the server, which repeats what it was sent
// (CONTRACT.md 2.3). Of a text with a short one nothing is left: stars within words that everybody
// knows would tell it.
func Redact(s, secret string) string {
	switch {
	case secret == "" || !strings.Contains(s, secret):
		return s
	case len(secret) < config.LeastSecret:
		return "*** (left out: the edge's secret, which is in this text, is too short)"
	}
	return strings.ReplaceAll(s, secret, "***")
}

// CanBeAnswer reports whether the end of a stream can be the server's answer to a message that it
// could not take. A broken link, which shows as Unavailable, cannot.
func CanBeAnswer(err error) bool {
	if errors.Is(err, ErrCleanEnd) {
		return true
	}
	s, ok := status.FromError(withStatus(err))
	return ok && s.Code() != codes.Unavailable && s.Code() != codes.OK
}

// Told reports whether the other end has said what is wrong, or shows it: a refusal, a certificate,
// an answer of another kind than ours. That says more than that no answer comes.
func Told(err error) bool {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return true
	}
	return strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ") ||
		strings.Contains(err.Error(), "unexpected HTTP status code")
}

// attemptError is an attempt that did not get to the server's answer.
type attemptError struct {
	error
	ignored string // route.ignored
}

// Unwrap returns the error.
func (e *attemptError) Unwrap() error { return e.error }

// Diagnosis is what an error that ended an attempt or a session means, in words for people. The
// secret may still be in it: see Redact.
type Diagnosis struct {
	What string // what happened; "" = only the error's own words are known
	Cure string // what to do; "" = nothing is to do, or it is not known
	Said string // the words of the error, or of the server; "" = What says it all

	lasts bool // the cure is worth saying although the way has worked once
}

// Diagnose says what an error of Open, of Reach or of a session means.
func Diagnose(err error, c *config.Cloud) Diagnosis {
	var refused *RefusedError
	if errors.As(err, &refused) {
		switch {
		case refused.Code != proto.ConnectResponseCode_BAD_CREDENTIALS:
			return Diagnosis{What: refused.Error(), lasts: true}
		case strings.Contains(refused.Text, "Failed to find the edge"):
			return Diagnosis{
				"the cloud does not know this edge", "check cloud.routing_key, and that the edge exists in ThingsBoard",
				refused.Text, true,
			}
		default:
			return Diagnosis{"the cloud refused the edge's secret", "check cloud.routing_secret", refused.Text, true}
		}
	}
	text := err.Error()
	if errors.Is(err, ErrCleanEnd) {
		return Diagnosis{What: text, lasts: true}
	}
	var p *proxyError
	if errors.As(err, &p) {
		text = ""
		if p.reason != nil {
			text = p.reason.Error()
		}
		return Diagnosis{p.what, p.cure, FirstLine(text), p.lasts}
	}
	d := advice(err, text, c)
	if s, ok := status.FromError(withStatus(err)); ok && s.Code() != codes.OK {
		text = strings.Replace(text, "rpc error: code = "+s.Code().String()+" desc = ", "", 1)
	}
	text = FirstLine(strings.NewReplacer(`connection error: desc = "transport: `, "", `connection error: desc = "`, "").Replace(text))
	text = strings.TrimSuffix(text, `"`)
	d.Said, _, _ = strings.Cut(text, ". If you upgraded from a grpc-go") // advice for programmers
	return d
}

// Explain turns the error that ended an attempt or a session into a sentence that says what to do.
// past says that the way to the cloud has worked, and when (History.Past); then it stands where
// else the advice would: a configuration that has worked is not what is wrong. The secret may still
// be in the sentence: see Redact.
func Explain(err error, c *config.Cloud, past string) string {
	d := Diagnose(err, c)
	var attempt *attemptError
	var p *proxyError
	if !errors.As(err, &attempt) && !errors.As(err, &p) {
		past = "" // of what ended a session it is clear that the way has worked
	}
	return d.sentence(past)
}

// sentence puts together what happened, what to do about it unless the way has worked in the past,
// and what the error says itself.
func (d Diagnosis) sentence(past string) string {
	cure := d.Cure
	if past != "" && !d.lasts {
		cure = ""
	}
	s := join(d.What, ": ", cure)
	s = join(s, "; ", past)
	if s == "" {
		return d.Said
	}
	if d.Said == "" {
		return s
	}
	return s + " (" + d.Said + ")"
}

func join(a, sep, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// advice says what an attempt that failed with err, whose text is text, means, and what to do.
// lasts: what to do has nothing to do with the configuration of the link.
func advice(err error, text string, c *config.Cloud) (d Diagnosis) {
	say := func(what, cure string, lasts bool) Diagnosis { return Diagnosis{What: what, Cure: cure, lasts: lasts} }
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	ignored := func(otherwise string) string {
		var attempt *attemptError
		if errors.As(err, &attempt) && attempt.ignored != "" {
			return attempt.ignored
		}
		return otherwise
	}
	var unknownCA x509.UnknownAuthorityError
	switch {
	case has("missing selected ALPN property", "tls: no application protocol", "unadvertised ALPN protocol"):
		return say("the TLS end of "+net.JoinHostPort(c.Host, strconv.Itoa(c.Port))+" does not offer HTTP/2 (ALPN h2)",
			"switch HTTP/2 on where TLS ends (the load balancer or web server in front), or let it pass TLS through to ThingsBoard", false)
	case has("first record does not look like a TLS handshake"):
		return say("the server speaks no TLS", "set cloud.tls.enabled = false, or check cloud.port", false)
	case errors.As(err, &unknownCA), has("certificate signed by unknown authority"):
		return say("the server's certificate is signed by none of the trusted authorities",
			"set cloud.tls.ca_file; or install the system's authorities (ca-bundle on OpenWrt, ca-certificates on Debian)", false)
	case has("certificate is valid for", "doesn't contain any IP SANs", "certificate is not valid for any names"):
		return say("the server's certificate names another host", "set cloud.tls.server_name or cloud.host", false)
	case has("is not yet valid") && !has(" is after "): // one text for both, and the times behind it
		return say("the server's certificate is not yet valid", "is this machine's clock right?", true)
	case has("certificate has expired"):
		return say("the server's certificate has expired, or this machine's clock is wrong", "", false)
	case !c.TLS.Enabled && has("error reading server preface", "malformed HTTP response", "frame too large"):
		return say("nothing that speaks plain gRPC answers there", "wait if the server is starting;"+
			" else set cloud.tls.enabled = true, or check cloud.port", false)
	case has("connection refused"):
		return say("nothing listens there", ignored("check cloud.host and cloud.port, and that the server has edges enabled"), false)
	case errors.Is(err, ErrTimeout):
		return say("", ignored("is a firewall in the way?"), false)
	case has("no such host", "produced zero addresses", "record lookup error"):
		return say("the name does not resolve", ignored("check cloud.host and this machine's DNS"), false)
	case has("network is unreachable", "no route to host"):
		return say("", ignored(""), false)
	}
	return d
}

// withStatus returns the error in the chain of err that holds a gRPC status; err itself if none
// does.
func withStatus(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(interface{ GRPCStatus() *status.Status }); ok {
			return e
		}
	}
	return err
}
