package device

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/schema"
	"edgesync/sync/registry"
)

// Payloads in protobuf. What comes up becomes JSON and is then treated like JSON of a device, as on
// the server, so that its values are converted by the same rules. What goes down is one of the
// server's own messages; only commands have the profile's schema. The messages, their field numbers
// and the rules for the choice between JSON and protobuf were read in the server's source
// (ProtoMqttAdaptor, DeviceSessionCtx, transport.proto, queue.proto).

// Messages of devices that no schema of the profile describes. Fields are optional here so that a
// field that is not given is not in the JSON either.
var (
	attributesRequest = fixed(`message AttributesRequest {
			optional string clientKeys = 1; optional string sharedKeys = 2;
		}`)
	rpcRequest       = fixed(`message RpcRequest { string method = 1; string params = 2; }`)
	claimDevice      = fixed(`message ClaimDevice { optional string secretKey = 1; optional int64 durationMs = 2; }`)
	provisionMessage = fixed(`enum CredentialsType {
			ACCESS_TOKEN = 0; X509_CERTIFICATE = 1; MQTT_BASIC = 2; LWM2M_CREDENTIALS = 3;
		}
		message Profile { string key = 1; string secret = 2; }
		message Token { string token = 1; }
		message Certificate { string hash = 1; }
		message Basic { string client = 1; string user = 2; string password = 3; }
		message Credentials { Token token = 1; Certificate certificate = 2; Basic basic = 3; }
		message Request {
			string name = 1; CredentialsType type = 2; Profile profile = 3; Credentials credentials = 4;
			bool gateway = 5;
		}`)
)

func fixed(text string) func() *schema.Message {
	return sync.OnceValue(func() *schema.Message {
		m, err := schema.Parse(`syntax = "proto3"; ` + text)
		if err != nil {
			panic(err)
		}
		return m
	})
}

var errSchema = errors.New("the device profile has no protobuf schema for this, or none that can be used")

// inJSON is what the device publishes, as JSON. On topics with /p a payload is protobuf whatever
// the profile says. On topics without /p and /j it is protobuf where the profile says so; such a
// profile may allow JSON beside it.
func (r *rules) inJSON(t topic, payload []byte) ([]byte, error) {
	if t.subject == subUnknown || t.subject >= subFirmware {
		return payload, nil
	}
	if t.family != familyV2Protobuf && (t.family == familyV2JSON || !r.Protobuf) {
		return payload, nil
	}
	b, err := r.fromProtobuf(t.subject, payload)
	if err != nil && r.Schemas.JSONToo && t.family != familyV2Protobuf {
		return payload, nil
	}
	return b, err
}

func (r *rules) fromProtobuf(what subject, payload []byte) ([]byte, error) {
	var m *schema.Message
	switch what {
	case subTelemetry:
		m = r.telemetry
	case subAttributes:
		m = r.attributes
	case subCallAnswer:
		m = r.answer
	case subAttributeRequest:
		m = attributesRequest()
	case subClaim:
		m = claimDevice()
	case subRequest:
		return fromRequest(payload)
	}
	if m == nil {
		return nil, errSchema
	}
	return m.AppendJSON(nil, payload)
}

// fromRequest is the JSON of a call of the device, whose params are JSON text.
func fromRequest(payload []byte) ([]byte, error) {
	b, err := rpcRequest().AppendJSON(nil, payload)
	if err != nil {
		return nil, err
	}
	var c struct{ Method, Params string }
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	if c.Params == "" {
		c.Params = "null"
	}
	if !json.Valid([]byte(c.Params)) {
		return nil, errors.New("the params of a call must be JSON")
	}
	b = proto.AppendJSONString(append(b[:0], `{"method":`...), c.Method)
	return append(append(append(b, `,"params":`...), c.Params...), '}'), nil
}

// downInProtobuf says whether what goes down on topics of that spelling is protobuf.
func (r *rules) downInProtobuf(f family) bool {
	switch f {
	case familyV1:
		return r.Protobuf && !r.Schemas.JSONDown
	case familyV2:
		return r.Protobuf
	}
	return f == familyV2Protobuf
}

// appendVarint appends a number as the server's classes do, which write nothing for 0.
func appendVarint(dst []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), uint64(v))
}

// appendText appends a string as the server's classes do, which write nothing for an empty one.
func appendText(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), v)
}

// appendTimed appends a value with its time, a TsKvProto.
func appendTimed(dst []byte, field protowire.Number, ts int64, kv *proto.KV) []byte {
	inner := appendText(appendVarint(nil, 1, ts), 2, proto.AppendKV(nil, kv))
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), inner)
}

// attributesMessage answers an attribute request, a GetAttributeResponseMsg. An answer of more than
// limit bytes is not whole.
func attributesMessage(
	look registry.Lookups, device proto.UUID, id int32, q question, limit int,
) (b []byte, whole bool) {
	b, whole = appendVarint(nil, 1, int64(id)), true
	part := func(field protowire.Number, scope registry.Scope, keys []string) {
		look.TimedAttributes(device, scope, keys, func(ts int64, kv *proto.KV) {
			if whole = whole && len(b)+memberSize(kv) <= limit; whole {
				b = appendTimed(b, field, ts, kv)
			}
		})
	}
	if q.client {
		part(2, registry.ClientScope, q.clientKeys)
	}
	if q.shared {
		part(3, registry.SharedScope, q.sharedKeys)
	}
	if len(q.clientKeys)+len(q.sharedKeys) > 1 {
		b = appendVarint(b, 4, 1)
	}
	return b, whole
}

// updateMessage has the changed shared attributes, an AttributeUpdateNotificationMsg.
func (s *session) updateMessage(set []proto.KV, deleted []string) []byte {
	keys, times := make([]string, len(set)), make([]int64, len(set))
	for i := range set {
		keys[i], times[i] = string(set[i].Key), s.m.Clock.Stamp()
	}
	next := 0 // the attributes come in the order of keys
	s.m.Lookups.TimedAttributes(s.device.ID, registry.SharedScope, keys, func(ts int64, kv *proto.KV) {
		for next < len(keys) && keys[next] != string(kv.Key) {
			next++
		}
		if next < len(keys) {
			times[next] = ts
		}
	})
	var b []byte
	for i := range set {
		b = appendTimed(b, 1, times[i], &set[i])
	}
	for _, key := range deleted {
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), key)
	}
	return b
}

// answerMessage is the answer to a call of the device, a ToServerRpcResponseMsg.
func answerMessage(id int32, response []byte, err error) []byte {
	b := appendVarint(nil, 1, int64(id))
	if err != nil {
		return appendText(b, 3, []byte(callWord(err)))
	}
	return appendText(b, 2, response)
}

// commandMessage is a command in the form of the profile's schema. Fields that the schema does not
// have are left out.
func (r *rules) commandMessage(c *agent.Call) ([]byte, error) {
	if r.call == nil {
		return nil, errSchema
	}
	b := proto.AppendJSONString([]byte(`{"method":`), c.Method)
	b = strconv.AppendInt(append(b, `,"requestId":`...), int64(c.ID), 10)
	b = append(b, `,"params":`...)
	switch {
	case c.Params == "":
		b = append(b, "null"...)
	case json.Valid([]byte(c.Params)):
		b = append(b, c.Params...)
	default:
		b = proto.AppendJSONString(b, c.Params)
	}
	return r.call.AppendWire(nil, append(b, '}'))
}

// cannotSend answers a command that does not fit the profile's schema, in the server's words.
func (s *session) cannotSend(c *agent.Call, err error) {
	s.m.complain("a command does not fit the protobuf schema of the device profile", s.device.Name, err)
	b := []byte(`{"result":"INVALID_ARGUMENTS","error":`)
	b = proto.AppendJSONString(b, "Failed to convert device RPC command to MQTT msg: "+c.Method+c.Params)
	s.m.Calls.Answer(c.Device, c.ID, string(append(b, '}')))
}

// protobufProvision reads a request for credentials that is no JSON. An empty payload is a request
// too, with an empty key.
func protobufProvision(payload []byte) (r provisionRequest, err error) {
	b, err := provisionMessage().AppendJSON(nil, payload)
	if err != nil {
		// The error says no more than that: the request holds secrets.
		return r, errors.New("the request is neither a JSON object of that form nor protobuf")
	}
	var m struct {
		Name        json.RawMessage
		Type        json.RawMessage
		Profile     struct{ Key, Secret string }
		Credentials struct {
			Token       struct{ Token string }
			Certificate struct{ Hash string }
			Basic       struct{ Client, User, Password string }
		}
		Gateway json.RawMessage
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return r, errors.New("the request cannot be read")
	}
	c, kind := &m.Credentials, strings.Trim(string(m.Type), `"`)
	r = provisionRequest{
		Key: &m.Profile.Key, Secret: &m.Profile.Secret, DeviceName: m.Name, Gateway: m.Gateway,
		CredentialsType: &kind, Token: c.Token.Token, Hash: c.Certificate.Hash,
		ClientID: c.Basic.Client, UserName: c.Basic.User, Password: c.Basic.Password,
	}
	return r, r.check()
}

// provisionMessageOf is the protobuf of an answer in JSON, a ProvisionDeviceResponseMsg.
func provisionMessageOf(answer []byte) []byte {
	var a struct {
		Status string          `json:"status"`
		Type   string          `json:"credentialsType"`
		Value  json.RawMessage `json:"credentialsValue"`
	}
	_ = json.Unmarshal(answer, &a) // our own
	value := string(a.Value)       // MQTT_BASIC credentials are their JSON
	_ = json.Unmarshal(a.Value, &value)
	statuses := []string{"", "SUCCESS", "NOT_FOUND", "FAILURE"}
	types := []string{"ACCESS_TOKEN", "X509_CERTIFICATE", "MQTT_BASIC"}
	b := appendVarint(nil, 1, int64(slices.Index(statuses, a.Status)))
	return appendText(appendVarint(b, 2, int64(max(0, slices.Index(types, a.Type)))), 3, []byte(value))
}
