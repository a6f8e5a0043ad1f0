package registry

import (
	"encoding/json"
	"errors"

	"edgesync/proto"
)

// The parts of entity JSON that are read (wire contract 6.4). Other fields are tolerated, keys that come twice too.
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
		DeviceID jsonID `json:"deviceId"`
		Type     string `json:"credentialsType"`
		ID       string `json:"credentialsId"`
	}
	jsonProfile struct {
		Name string `json:"name"`
	}
)

// checkJSON tells whether text is bounded enough to be decoded. It counts brackets only; the decoder finds all other mistakes.
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
	// People put anything there: only a true in the right place counts.
	var info struct {
		Gateway bool `json:"gateway"`
	}
	if json.Unmarshal(j.AdditionalInfo, &info) == nil {
		d.Gateway = info.Gateway
	}
	return d, true
}

// credentials is what is read of a device's credentials.
type credentials struct {
	device proto.UUID
	kind   CredentialsType
	token  string // of an AccessToken
}

func decodeCredentials(text []byte) (c credentials, ok bool) {
	var j jsonCredentials
	if !decode(text, &j) {
		return c, false
	}
	if c.device, ok = proto.ParseUUID(j.DeviceID.ID); !ok {
		return c, false
	}
	return c, c.kind.UnmarshalText([]byte(j.Type)) == nil && c.set(j.ID)
}

func (c *credentials) set(id string) bool {
	if c.kind == AccessToken {
		c.token = id
	}
	return id != ""
}

func decodeProfile(text []byte) (p jsonProfile, ok bool) {
	ok = decode(text, &p) && p.Name != "" && len(p.Name) <= maxName
	return p, ok
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
