package sync

import (
	"crypto/x509"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
	"edgesync/sync/config"
)

// Texts by which the server tells why it refused an uplink (wire contract 4.5). Only prefixes are stable.
const (
	textRateLimit  = "Rate limit reached"
	textEdgeGone   = "Can't assign device to non-existent edge!"
	maxReasonBytes = 300
)

// verdict is what a refused uplink means for us.
type verdict uint8

const (
	refusedEvent    verdict = iota // something in it is refused; perhaps not the next time
	refusedHopeless                // never to be accepted: no further tries
	refusedLimit                   // too fast: slow down, nothing is wrong with the events
	refusedEdgeGone                // the edge was deleted in the cloud
)

// hopeless are beginnings of texts that no repetition changes (wire contract 4.5, column "retry useful?").
var hopeless = []string{
	"No enum constant ", "Unexpected character", "Unexpected end-of-input", "No content to map", "Cannot deserialize value",
	"Unexpected IOException", "End of input at line", "Validation error", "Unsupported msg type", "Incorrect ",
	"Device should be assigned to tenant!", "Device is referencing", "Device credentials are already assigned", "Can't assign ",
	"Can't delete ", "Can't unassign ", "Dashboard title should be specified!", "ERROR: duplicate key value violates unique constraint", "[{",
}

// judge classifies the error text of an UplinkResponseMsg.
func judge(text string) verdict {
	switch {
	case strings.Contains(text, textRateLimit), strings.Contains(text, " rate limits reached!"):
		return refusedLimit
	case strings.HasPrefix(text, textEdgeGone):
		return refusedEdgeGone
	}
	for _, h := range hopeless {
		if strings.HasPrefix(text, h) {
			return refusedHopeless
		}
	}
	return refusedEvent
}

// firstLine cuts the stack trace off and bounds the rest.
func firstLine(s string) string {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	if len(s) > maxReasonBytes {
		s = strings.ToValidUTF8(s[:maxReasonBytes], "") + "…"
	}
	return s
}

// redact removes the secret from a text of the server, which echoes it (wire contract 2.3).
func redact(s, secret string) string {
	if secret == "" {
		return s
	}
	return strings.ReplaceAll(s, secret, "***")
}

// explain turns the error that ended an attempt or a session into a sentence that tells what to do.
func explain(err error, c *config.Cloud) string {
	var refused *RefusedError
	if errors.As(err, &refused) {
		switch {
		case refused.Code != proto.ConnectResponseCode_BAD_CREDENTIALS:
			return refused.Error()
		case strings.Contains(refused.Text, "Failed to find the edge"):
			return "the cloud does not know this edge: check cloud.routing_key, and that the edge exists in ThingsBoard (" + refused.Text + ")"
		default:
			return "the cloud refused the edge's secret: check cloud.routing_secret (" + refused.Text + ")"
		}
	}
	text := err.Error()
	var hint string
	var unknownCA x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errCleanEnd):
		return text
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		hint = "the server speaks no TLS: set cloud.tls.enabled = false, or check cloud.port"
	case errors.As(err, &unknownCA), strings.Contains(text, "certificate signed by unknown authority"):
		hint = "the server's certificate is signed by none of the trusted authorities: set cloud.tls.ca_file"
	case strings.Contains(text, "certificate is valid for"), strings.Contains(text, "doesn't contain any IP SANs"), strings.Contains(text, "certificate is not valid for any names"):
		hint = "the server's certificate names another host: set cloud.tls.server_name or cloud.host"
	case strings.Contains(text, "is not yet valid"):
		hint = "the server's certificate is not yet valid: is this machine's clock right?"
	case strings.Contains(text, "certificate has expired"):
		hint = "the server's certificate has expired, or this machine's clock is wrong"
	case !c.TLS.Enabled && (strings.Contains(text, "error reading server preface") || strings.Contains(text, "malformed HTTP response") || strings.Contains(text, "frame too large")):
		hint = "nothing that speaks plain gRPC answers there: wait if the server is starting; else set cloud.tls.enabled = true, or check cloud.port"
	case strings.Contains(text, "connection refused"):
		hint = "nothing listens there: check cloud.host and cloud.port, and that the server has edges enabled"
	case errors.Is(err, errDialTimeout):
		hint = "is a firewall in the way?"
	case strings.Contains(text, "no such host"), strings.Contains(text, "produced zero addresses"):
		hint = "the name does not resolve: check cloud.host and this machine's DNS"
	}
	if s, ok := status.FromError(unwrapStatus(err)); ok && s.Code() != codes.OK {
		text = strings.Replace(text, "rpc error: code = "+s.Code().String()+" desc = ", "", 1)
	}
	text = firstLine(strings.NewReplacer(`connection error: desc = "transport: `, "", `connection error: desc = "`, "").Replace(text))
	text = strings.TrimSuffix(text, `"`)
	if hint == "" {
		return text
	}
	return hint + " (" + text + ")"
}

func unwrapStatus(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(interface{ GRPCStatus() *status.Status }); ok {
			return e
		}
	}
	return err
}
