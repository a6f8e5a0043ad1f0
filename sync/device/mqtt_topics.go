package device

import (
	"math"
	"strconv"
	"strings"
)

// subject is what a topic is about (API.md 4).
type subject uint8

const (
	subUnknown subject = iota
	subTelemetry
	subAttributes        // published by a device; also the subscription to shared attributes
	subAttributeRequest  // by a device
	subAttributeResponse // a subscription
	subCall              // a command for the device: a subscription
	subCallAnswer        // the device's answer to a command
	subRequest           // a call of the device to the cloud
	subRequestAnswer     // a subscription
	subClaim
	subFirmware // request for a chunk; also the subscription to the answers
	subSoftware
	subUpdateError // a subscription
	subGatewayConnect
	subGatewayDisconnect
	subGatewayTelemetry
	subGatewayAttributes
	subGatewayAttributeRequest
	subGatewayAttributeResponse // a subscription
	subGatewayCall
	subGatewayClaim
	subGatewayUnknown
	subProvision
)

// maxRequestID is the most digits of the id that a device gives to the reading of a package: a
// session keeps the last one.
const maxRequestID = 32

// family is the spelling of a topic. Answers use that of the latest request or subscription of
// their kind (API.md 4.1).
type family uint8

const (
	familyV1 family = iota
	familyV2
	familyV2JSON
	familyV2Protobuf
)

// topic is a topic that a device may publish to, taken apart.
type topic struct {
	subject subject
	family  family
	id      int32  // of a request or an answer
	chunk   int32  // of a firmware request
	badID   bool   // the number in it is no int32
	request string // of a firmware request
}

const (
	v1Device       = "v1/devices/me/"
	v1Gateway      = "v1/gateway/"
	provisionUser  = "provision"
	provisionTopic = "/provision/request"
	provisionReply = "/provision/response"
)

// readTopic takes a topic apart.
func readTopic(name string) topic {
	if rest, ok := strings.CutPrefix(name, v1Device); ok {
		switch rest {
		case "telemetry":
			return topic{subject: subTelemetry}
		case "attributes":
			return topic{subject: subAttributes}
		case "claim":
			return topic{subject: subClaim}
		}
		for _, p := range [...]struct {
			prefix  string
			subject subject
		}{
			{"attributes/request/", subAttributeRequest},
			{"rpc/response/", subCallAnswer},
			{"rpc/request/", subRequest},
		} {
			if id, ok := strings.CutPrefix(rest, p.prefix); ok {
				return topic{subject: p.subject}.withID(id)
			}
		}
		return topic{}
	}
	if rest, ok := strings.CutPrefix(name, v1Gateway); ok || name == v1Gateway[:len(v1Gateway)-1] {
		switch rest {
		case "connect":
			return topic{subject: subGatewayConnect}
		case "disconnect":
			return topic{subject: subGatewayDisconnect}
		case "telemetry":
			return topic{subject: subGatewayTelemetry}
		case "attributes":
			return topic{subject: subGatewayAttributes}
		case "attributes/request":
			return topic{subject: subGatewayAttributeRequest}
		case "rpc":
			return topic{subject: subGatewayCall}
		case "claim":
			return topic{subject: subGatewayClaim}
		}
		return topic{subject: subGatewayUnknown}
	}
	rest, ok := strings.CutPrefix(name, "v2/")
	if !ok {
		return topic{}
	}
	if s := subFirmware; strings.HasPrefix(rest, "fw/request/") || strings.HasPrefix(rest, "sw/request/") {
		if rest[0] == 's' {
			s = subSoftware
		}
		id, n, ok := strings.Cut(rest[len("fw/request/"):], "/chunk/")
		chunk, err := strconv.ParseInt(n, 10, 32)
		if !ok || !digits(id) || len(id) > maxRequestID || !digits(n) || err != nil {
			return topic{}
		}
		return topic{subject: s, request: id, chunk: int32(chunk)}
	}
	var t topic
	for _, p := range [...]struct {
		prefix  string
		subject subject
		id      bool
	}{
		{"t", subTelemetry, false},
		{"a/req", subAttributeRequest, true},
		{"r/res", subCallAnswer, true},
		{"r/req", subRequest, true},
		{"a", subAttributes, false},
	} {
		tail, ok := strings.CutPrefix(rest, p.prefix)
		if !ok || tail != "" && tail[0] != '/' {
			continue
		}
		t.subject, t.family = p.subject, familyV2
		if f, ok := cutFamily(tail, "/j"); ok {
			t.family, tail = familyV2JSON, f
		} else if f, ok := cutFamily(tail, "/p"); ok {
			t.family, tail = familyV2Protobuf, f
		}
		switch {
		case !p.id && tail == "":
			return t
		case p.id && tail != "":
			return t.withID(tail[1:])
		}
		return topic{}
	}
	return topic{}
}

// cutFamily removes mark, /j or /p, from the front of tail where it is a whole level of the topic.
func cutFamily(tail, mark string) (string, bool) {
	rest, ok := strings.CutPrefix(tail, mark)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// withID reads the number at the end of a topic, which may have a sign and leading zeros (API.md
// 4.1).
func (t topic) withID(text string) topic {
	if strings.Contains(text, "/") {
		return topic{}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		t.badID = true
		return t
	}
	t.id = int32(n)
	return t
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// filters are the filters that a device may subscribe to, and no others: nothing is routed between
// devices (API.md 4.1).
var filters = map[string]topic{
	"v1/devices/me/attributes":            {subject: subAttributes},
	"v1/devices/me/attributes/response/+": {subject: subAttributeResponse},
	"v1/devices/me/rpc/request/+":         {subject: subCall},
	"v1/devices/me/rpc/response/+":        {subject: subRequestAnswer},
	"v2/a":                                {subject: subAttributes, family: familyV2},
	"v2/a/j":                              {subject: subAttributes, family: familyV2JSON},
	"v2/a/p":                              {subject: subAttributes, family: familyV2Protobuf},
	"v2/a/res/+":                          {subject: subAttributeResponse, family: familyV2},
	"v2/a/res/j/+":                        {subject: subAttributeResponse, family: familyV2JSON},
	"v2/a/res/p/+":                        {subject: subAttributeResponse, family: familyV2Protobuf},
	"v2/r/req/+":                          {subject: subCall, family: familyV2},
	"v2/r/req/j/+":                        {subject: subCall, family: familyV2JSON},
	"v2/r/req/p/+":                        {subject: subCall, family: familyV2Protobuf},
	"v2/r/res/+":                          {subject: subRequestAnswer, family: familyV2},
	"v2/r/res/j/+":                        {subject: subRequestAnswer, family: familyV2JSON},
	"v2/r/res/p/+":                        {subject: subRequestAnswer, family: familyV2Protobuf},
	"v2/fw/response/+/chunk/+":            {subject: subFirmware},
	"v2/sw/response/+/chunk/+":            {subject: subSoftware},
	"v2/fw/error":                         {subject: subUpdateError},
	"v2/sw/error":                         {subject: subUpdateError},
}

// gatewayFilters are the filters that only gateways may subscribe to (API.md 4.3, 9).
var gatewayFilters = map[string]topic{
	"v1/gateway/attributes":          {subject: subGatewayAttributes},
	"v1/gateway/attributes/response": {subject: subGatewayAttributeResponse},
	"v1/gateway/rpc":                 {subject: subGatewayCall},
	"v1/gateway/disconnect":          {subject: subGatewayDisconnect},
}

// The topics of what is sent to a device, by family, without the number at their end.
var (
	attributesTopics        = [...]string{"v1/devices/me/attributes", "v2/a", "v2/a/j", "v2/a/p"}
	attributeResponseTopics = [...]string{
		"v1/devices/me/attributes/response/", "v2/a/res/", "v2/a/res/j/", "v2/a/res/p/",
	}
	callTopics          = [...]string{"v1/devices/me/rpc/request/", "v2/r/req/", "v2/r/req/j/", "v2/r/req/p/"}
	requestAnswerTopics = [...]string{"v1/devices/me/rpc/response/", "v2/r/res/", "v2/r/res/j/", "v2/r/res/p/"}
)
