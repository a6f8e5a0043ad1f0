package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
)

// What devices ask over MQTT or HTTP is small and rare, so encoding/json reads it.

var (
	errNoJSON = errors.New("the text is no JSON")
	errObject = errors.New("the text must be a JSON object")
)

// readObject reads a JSON object into v, as leniently as the server reads it (API.md 1.3).
func readObject(text []byte, v any) error {
	if len(text) == 0 {
		return errObject
	}
	var p payload.Parser
	strict, err := p.Strictly(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoJSON, err)
	}
	if strict[0] != '{' {
		return errObject
	}
	return json.Unmarshal(strict, v)
}

// keyList reads a list of attribute names as devices write it (API.md 4.1): "a,b", one such string
// in an array, or a number. given is false if raw is nil.
func keyList(raw json.RawMessage) (keys []string, given bool, err error) {
	if raw == nil {
		return nil, false, nil
	}
	if len(raw) > 0 && raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, false, err
		}
		if len(list) != 1 {
			return nil, false, errors.New("the keys must be one string, separated by commas")
		}
		raw = list[0]
	}
	text := string(raw)
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, false, err
		}
	case 'n', '{', '[':
		return nil, false, errors.New("the keys must be one string, separated by commas")
	}
	return splitKeys(text), true, nil
}

// splitKeys returns the names in a list separated by commas. It is never nil, which would mean all
// names. Each name is in it once.
func splitKeys(text string) []string {
	keys := make([]string, 0, 4)
	for k := range strings.SplitSeq(text, ",") {
		if k != "" {
			keys = append(keys, k)
		}
	}
	return once(keys)
}

// question is which attributes a device wants to know.
type question struct {
	client, shared         bool     // the scopes
	clientKeys, sharedKeys []string // nil: all
}

// readAttributes answers a question from the registry, with a member for each scope that has values
// (API.md 2, 4.1). An answer of more than limit bytes is not whole.
func readAttributes(look registry.Lookups, device proto.UUID, q question, limit int) (dst []byte, whole bool) {
	dst, whole = append(dst, '{'), true
	parts := 0
	part := func(name string, scope registry.Scope, keys []string) {
		values := 0
		look.Attributes(device, scope, keys, func(kv *proto.KV) {
			if whole = whole && len(dst)+memberSize(kv) <= limit; !whole {
				return
			}
			if values++; values == 1 {
				if parts++; parts > 1 {
					dst = append(dst, ',')
				}
				dst = append(append(append(dst, '"'), name...), `":{`...)
			} else {
				dst = append(dst, ',')
			}
			dst = appendMember(dst, kv)
		})
		if values > 0 {
			dst = append(dst, '}')
		}
	}
	if q.client {
		part("client", registry.ClientScope, q.clientKeys)
	}
	if q.shared {
		part("shared", registry.SharedScope, q.sharedKeys)
	}
	return append(dst, '}'), whole
}

func appendMember(dst []byte, kv *proto.KV) []byte {
	dst = proto.AppendJSONString(dst, kv.Key)
	return proto.AppendJSONValue(append(dst, ':'), kv)
}

// appendObject appends kvs as a JSON object.
func appendObject(dst []byte, kvs []proto.KV) []byte {
	dst = append(dst, '{')
	for i := range kvs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMember(dst, &kvs[i])
	}
	return append(dst, '}')
}

// appendDeleted appends the notice of deleted attributes.
func appendDeleted(dst []byte, keys []string) []byte {
	dst = append(dst, `{"deleted":[`...)
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = proto.AppendJSONString(dst, k)
	}
	return append(dst, `]}`...)
}

// appendCommand appends "method" and "params" of a command and the brace behind them.
func appendCommand(dst []byte, c *agent.Call) []byte {
	dst = append(dst, `"method":`...)
	dst = proto.AppendJSONString(dst, c.Method)
	dst = append(dst, `,"params":`...)
	if c.Params == "" {
		dst = append(dst, "null"...)
	}
	return append(append(dst, c.Params...), '}')
}

// call is a call that a device makes.
type call struct {
	Method *json.RawMessage `json:"method"`
	Params json.RawMessage  `json:"params"`
}

// readCall reads {"method":…,"params":…}. A method that is no string stands for its JSON text;
// params are "null" if there are none.
func readCall(payload []byte) (method, params string, err error) {
	var c call
	if err := readObject(payload, &c); err != nil {
		return "", "", err
	}
	if c.Method == nil || string(*c.Method) == "null" {
		return "", "", errors.New(`a call needs a "method"`)
	}
	if (*c.Method)[0] == '"' {
		err = json.Unmarshal(*c.Method, &method)
	} else {
		method = string(*c.Method)
	}
	if params = string(c.Params); params == "" {
		params = "null"
	}
	return method, params, err
}

// sessionLimits is the answer to getSessionLimits, which thingsboard-gateway waits for before it
// sends anything (API.md 4.1, 9).
func sessionLimits(gateway bool) []byte {
	const none = `{"messages":null,"telemetryMessages":null,"telemetryDataPoints":null}`
	b := []byte(`{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":` + none)
	if gateway {
		b = append(b, `,"gatewayRateLimits":`+none...)
	}
	return append(b, '}')
}

// number reads a whole number, which may stand in quotes.
func number(raw json.RawMessage) (int64, error) {
	text := strings.Trim(string(raw), `"`)
	return json.Number(text).Int64()
}
