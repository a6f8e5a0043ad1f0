package link

import (
	"crypto/x509"
	"errors"
	"fmt"
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
// (CONTRACT.md 2.3).
func Redact(s, secret string) string {
	if secret == "" {
		return s
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

// Explain turns the error that ended an attempt or a session into a sentence that says what to do.
// The secret may still be in it: see Redact.
func Explain(err error, c *config.Cloud) string {
	var refused *RefusedError
	if errors.As(err, &refused) {
		switch {
		case refused.Code != proto.ConnectResponseCode_BAD_CREDENTIALS:
			return refused.Error()
		case strings.Contains(refused.Text, "Failed to find the edge"):
			return "the cloud does not know this edge: check cloud.routing_key, and that the edge exists in ThingsBoard (" +
				refused.Text + ")"
		default:
			return "the cloud refused the edge's secret: check cloud.routing_secret (" + refused.Text + ")"
		}
	}
	text := err.Error()
	if errors.Is(err, ErrCleanEnd) {
		return text
	}
	hint := advice(err, text, c)
	if s, ok := status.FromError(withStatus(err)); ok && s.Code() != codes.OK {
		text = strings.Replace(text, "rpc error: code = "+s.Code().String()+" desc = ", "", 1)
	}
	text = FirstLine(strings.NewReplacer(`connection error: desc = "transport: `, "", `connection error: desc = "`, "").Replace(text))
	text = strings.TrimSuffix(text, `"`)
	if hint == "" {
		return text
	}
	return hint + " (" + text + ")"
}

// advice says what to check when an attempt failed with err, whose text is text; "" if there is
// nothing to say.
func advice(err error, text string, c *config.Cloud) string {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	var unknownCA x509.UnknownAuthorityError
	switch {
	case has("first record does not look like a TLS handshake"):
		return "the server speaks no TLS: set cloud.tls.enabled = false, or check cloud.port"
	case errors.As(err, &unknownCA), has("certificate signed by unknown authority"):
		return "the server's certificate is signed by none of the trusted authorities: set cloud.tls.ca_file"
	case has("certificate is valid for", "doesn't contain any IP SANs", "certificate is not valid for any names"):
		return "the server's certificate names another host: set cloud.tls.server_name or cloud.host"
	case has("is not yet valid"):
		return "the server's certificate is not yet valid: is this machine's clock right?"
	case has("certificate has expired"):
		return "the server's certificate has expired, or this machine's clock is wrong"
	case !c.TLS.Enabled && has("error reading server preface", "malformed HTTP response", "frame too large"):
		return "nothing that speaks plain gRPC answers there: wait if the server is starting;" +
			" else set cloud.tls.enabled = true, or check cloud.port"
	case has("connection refused"):
		return "nothing listens there: check cloud.host and cloud.port, and that the server has edges enabled"
	case errors.Is(err, ErrTimeout):
		return "is a firewall in the way?"
	case has("no such host", "produced zero addresses"):
		return "the name does not resolve: check cloud.host and this machine's DNS"
	}
	return ""
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
