package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// Bounds of calls: ThingsBoard's own (CONTRACT.md 8.1).
const (
	rpcTimeout = 10 * time.Second
	rpcLeast   = 5 * time.Second
	rpcMost    = 30 * time.Second
)

// rpc calls a device here. v1 is the older form, which has different answers for a call that was
// not answered and for one that nobody took.
func (c *call) rpc(oneway, v1 bool) (any, error) {
	var in struct {
		Method     string
		Params     json.RawMessage
		Timeout    *int64
		Persistent bool
	}
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil {
		return nil, bad("the body must be a JSON object with method and params")
	}
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	if _, err := c.read1(deviceDef, id); err != nil {
		return nil, err
	}
	switch why := badText(in.Method); {
	case in.Method == "":
		return nil, bad("method must be given")
	case why != "":
		return nil, bad("method " + why)
	case in.Persistent:
		return nil, bad("persistent calls are made in the cloud; the edge makes calls that end with their request")
	case len(in.Params) > maxBody/4:
		return nil, bad("params are too large")
	}
	timeout := rpcTimeout
	if in.Timeout != nil {
		timeout = min(max(time.Duration(min(*in.Timeout, rpcMost.Milliseconds()))*time.Millisecond, rpcLeast), rpcMost)
	}
	var params bytes.Buffer
	if len(in.Params) > 0 {
		_ = json.Compact(&params, in.Params) // was decoded, so it is JSON
	}
	response, err := c.Calls.CallDevice(c.r.Context(), id, in.Method, params.String(), oneway, timeout)
	var end *agent.CallError
	switch {
	case errors.As(err, &end):
		status := http.StatusGatewayTimeout
		if v1 && end.Word == "TIMEOUT" {
			status = http.StatusRequestTimeout
		} else if v1 && end.Word == "NO_ACTIVE_CONNECTION" {
			status = http.StatusConflict
		}
		return nil, &failure{status, codeGeneral, strings.ToLower(strings.ReplaceAll(end.Word, "_", " "))}
	case errors.Is(err, agent.ErrTooMany):
		return nil, &failure{http.StatusTooManyRequests, codeTooMany, "too many calls of this device wait for their answers"}
	case err != nil:
		return nil, err
	case oneway:
		return nil, nil
	case !json.Valid([]byte(response)):
		return nil, &failure{http.StatusNotAcceptable, codeGeneral, "the device's answer is not JSON"}
	}
	return json.RawMessage(response), nil
}
