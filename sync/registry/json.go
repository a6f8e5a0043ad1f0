package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
)

// The parts of entity JSON that are read (CONTRACT.md 6.4). Other fields are tolerated, and keys
// that come twice.
type (
	jsonID struct {
		ID string `json:"id"`
	}
	jsonDevice struct {
		Name           string          `json:"name"`
		Type           string          `json:"type"`
		Label          *string         `json:"label"`
		ProfileID      *jsonID         `json:"deviceProfileId"`
		CustomerID     *jsonID         `json:"customerId"`
		AdditionalInfo json.RawMessage `json:"additionalInfo"`
	}
	jsonCredentials struct {
		DeviceID jsonID  `json:"deviceId"`
		Type     string  `json:"credentialsType"`
		ID       string  `json:"credentialsId"`
		Value    *string `json:"credentialsValue"`
	}
	// jsonBasic is the value of MQTT_BASIC credentials.
	jsonBasic struct {
		ClientID string `json:"clientId"`
		UserName string `json:"userName"`
		Password string `json:"password"`
	}
	jsonProfile struct {
		Name          string  `json:"name"`
		Default       bool    `json:"default"`
		TransportType string  `json:"transportType"`
		ProvisionType string  `json:"provisionType"`
		ProvisionKey  *string `json:"provisionDeviceKey"`
		Chain         jsonID  `json:"defaultEdgeRuleChainId"`
		Data          struct {
			Transport struct {
				Telemetry  string `json:"deviceTelemetryTopic"`
				Attributes string `json:"deviceAttributesTopic"`
				Subscribe  string `json:"deviceAttributesSubscribeTopic"`
				AckInvalid bool   `json:"sendAckOnValidationException"`
				Payload    struct {
					Type       string  `json:"transportPayloadType"`
					Telemetry  string  `json:"deviceTelemetryProtoSchema"`
					Attributes string  `json:"deviceAttributesProtoSchema"`
					Call       *string `json:"deviceRpcRequestProtoSchema"`
					Answer     *string `json:"deviceRpcResponseProtoSchema"`
					JSONToo    bool    `json:"enableCompatibilityWithJsonPayloadFormat"`
					JSONDown   bool    `json:"useJsonPayloadFormatForDefaultDownlinkTopics"`
				} `json:"transportPayloadTypeConfiguration"`
			} `json:"transportConfiguration"`
			Provision struct {
				Secret *string `json:"provisionDeviceSecret"`
			} `json:"provisionConfiguration"`
		} `json:"profileData"`
	}
	jsonUser struct {
		Authority  string `json:"authority"`
		CustomerID jsonID `json:"customerId"`
	}
	jsonComment struct {
		ID      jsonID `json:"id"`
		Alarm   jsonID `json:"alarmId"`
		Type    string `json:"type"`
		Created int64  `json:"createdTime"`
		Comment struct {
			Subtype string `json:"subtype"`
		} `json:"comment"`
	}
	// jsonRef is an end of a relation: both are required (CONTRACT.md 5.1).
	jsonRef struct {
		Type string `json:"entityType"`
		ID   string `json:"id"`
	}
	jsonRelation struct {
		From  jsonRef `json:"from"`
		To    jsonRef `json:"to"`
		Type  string  `json:"type"`
		Group string  `json:"typeGroup"`
	}
)

// validName reports whether a name can be stored and sent: a string that is not UTF-8 would end
// every session (CONTRACT.md 1.1), and the server refuses NUL and markup.
func validName(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsAny(s, "\x00<>")
}

// checkJSON reports whether text is bounded enough to be decoded. It counts brackets only; the
// decoder finds all other mistakes.
func checkJSON(text []byte) bool {
	if len(text) == 0 || len(text) > maxEntity {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// validObject reports whether text is a JSON object within the bounds.
func validObject(text []byte) bool {
	return checkJSON(text) && json.Valid(text) && bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

func decode(text []byte, into any) bool { return checkJSON(text) && json.Unmarshal(text, into) == nil }

// decodeDevice reads a device's JSON; its id comes from the message.
func decodeDevice(text []byte) (d Device, ok bool) {
	var j jsonDevice
	if !decode(text, &j) || j.Name == "" || len(j.Name) > maxName || len(j.Type) > maxName {
		return d, false
	}
	d = Device{Name: j.Name, Type: j.Type, CustomerID: proto.NullUUID}
	if j.Label != nil {
		if len(*j.Label) > maxName {
			return d, false
		}
		d.Label = *j.Label
	}
	if j.ProfileID != nil {
		if d.ProfileID, ok = proto.ParseUUID(j.ProfileID.ID); !ok {
			return d, false
		}
	}
	if j.CustomerID != nil {
		if d.CustomerID, ok = proto.ParseUUID(j.CustomerID.ID); !ok {
			return d, false
		}
	}
	// additionalInfo is free text of people: anything may stand there.
	var info map[string]json.RawMessage
	if json.Unmarshal(j.AdditionalInfo, &info) == nil {
		var last string
		d.Gateway = truth(info["gateway"])
		if json.Unmarshal(info["lastConnectedGateway"], &last) == nil {
			d.LastGateway, _ = proto.ParseUUID(last)
		}
	}
	return d, true
}

// truth reports whether the server takes a value for true (API.md 4.3): true, "true", a number that
// is not zero.
func truth(raw json.RawMessage) bool {
	var v any
	_ = json.Unmarshal(raw, &v)
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v == "true"
	case float64:
		return v != 0
	}
	return false
}

// credentials is what is read of a device's credentials.
type credentials struct {
	device proto.UUID
	kind   CredentialsType
	id     string // unique among all credentials
	value  string // of types that have one
}

// decodeCredentials reads a device's credentials. Of those of an unknown type it reads the device.
func decodeCredentials(text []byte) (c credentials, ok bool) {
	var j jsonCredentials
	if !decode(text, &j) {
		return c, false
	}
	if c.device, ok = proto.ParseUUID(j.DeviceID.ID); !ok {
		return credentials{}, false
	}
	if c.id = j.ID; j.Value != nil {
		c.value = *j.Value
	}
	return c, c.kind.UnmarshalText([]byte(j.Type)) == nil && c.id != ""
}

// Names of provisioning strategies (API.md 5).
const (
	allowCreate         = "ALLOW_CREATE_NEW_DEVICES"
	checkPreProvisioned = "CHECK_PRE_PROVISIONED_DEVICES"
)

func (r *Registry) decodeProfile(id proto.UUID, text []byte) (*profile, bool) {
	var j jsonProfile
	if !decode(text, &j) || j.Name == "" || len(j.Name) > maxName {
		return nil, false
	}
	t := &j.Data.Transport
	chain, _ := proto.ParseUUID(j.Chain.ID)
	p := &profile{Profile: Profile{ID: id, Name: j.Name, Provisioning: j.ProvisionType, Default: j.Default, Chain: chain}}
	if j.TransportType == "MQTT" {
		p.ConfiguredForMQTT = true
		p.TelemetryTopic, p.AttributesTopic, p.SubscribeTopic = bounded(t.Telemetry), bounded(t.Attributes), bounded(t.Subscribe)
		if p.AckInvalid = t.AckInvalid; t.Payload.Type == "PROTOBUF" {
			c := &t.Payload
			p.Protobuf = true
			p.Schemas = Schemas{
				Telemetry: boundedSchema(c.Telemetry), Attributes: boundedSchema(c.Attributes),
				Call: schemaOr(c.Call, callSchema), Answer: schemaOr(c.Answer, answerSchema),
				JSONToo: c.JSONToo, JSONDown: c.JSONToo && c.JSONDown,
			}
		}
	}
	if s := j.Data.Provision.Secret; s != nil && j.ProvisionKey != nil &&
		(j.ProvisionType == allowCreate || j.ProvisionType == checkPreProvisioned) {
		var k bool
		p.key, k = r.digest(*j.ProvisionKey)
		p.secret, p.provisions = r.digest(*s)
		p.provisions = p.provisions && k
	}
	return p, true
}

// The schemas that the server uses for commands and their answers when a profile has none (read in
// its source).
const (
	callSchema = `syntax = "proto3"; package rpc; message RpcRequestMsg { ` +
		`optional string method = 1; optional int32 requestId = 2; optional string params = 3; }`
	answerSchema = `syntax = "proto3"; package rpc; message RpcResponseMsg { optional string payload = 1; }`
)

func schemaOr(text *string, otherwise string) string {
	if text == nil || *text == "" {
		return otherwise
	}
	return boundedSchema(*text)
}

// boundedSchema leaves out a schema that would take too much memory, where schemas are kept.
func boundedSchema(text string) string {
	if len(text) > MaxSchema {
		return ""
	}
	return text
}

// bounded leaves out a text that is too long to be meant.
func bounded(s string) string {
	if len(s) > maxName {
		return ""
	}
	return s
}

var credentialsNames = [...]string{"NONE", "ACCESS_TOKEN", "MQTT_BASIC", "X509_CERTIFICATE"}

var errCredentialsType = errors.New("registry: unknown type of credentials")

// String is the type's name as ThingsBoard spells it.
func (t CredentialsType) String() string { return credentialsNames[t] }

// UnmarshalText reads ThingsBoard's name of a type.
func (t *CredentialsType) UnmarshalText(name []byte) error {
	for i, n := range credentialsNames {
		if i > 0 && n == string(name) {
			*t = CredentialsType(i)
			return nil
		}
	}
	return errCredentialsType
}
