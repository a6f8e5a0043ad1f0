package ruling

import (
	"encoding/json"
	"fmt"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/rules"
)

// callState has the message of a state of a persistent call run (RULES.md 2.2). Any goroutine; it
// does not block.
func (r *Rules) callState(c *calls.Call, state, answer string) {
	if r.Off {
		return
	}
	own := *c
	r.run(ofCalls, len(own.Method)+len(own.Params)+len(own.Info)+len(answer), func() {
		r.handleQuietly(&rules.Message{
			Type: "RPC_" + state, Originator: rules.Entity{Type: proto.DeviceEntity, ID: own.Device}, Time: r.Clock.Now(),
			Data: r.callJSON(&own, state, answer),
		})
	})
}

// callJSON is a persistent call as a server writes it.
func (r *Rules) callJSON(c *calls.Call, state, answer string) string {
	of := `"tenantId":` + r.Tenant().JSON() + `,"deviceId":` + rules.Entity{Type: proto.DeviceEntity, ID: c.Device}.JSON()
	retries, info := c.Retries, c.Info
	if retries == "" {
		retries = "null"
	}
	if !json.Valid([]byte(info)) {
		info = "null"
	}
	switch {
	case answer == "":
		answer = "null"
	case !json.Valid([]byte(answer)):
		answer = `{"error":` + string(appendText(nil, answer)) + `}`
	}
	return fmt.Sprintf(`{"id":{"entityType":"RPC","id":"%[1]s"},"createdTime":%[2]d,%[3]s,"expirationTime":%[4]d,"request":{"id":"%[1]s",`+
		`%[3]s,"oneway":%[5]t,"expirationTime":%[4]d,"body":{"method":%[6]s,"params":%[7]s},"persisted":true,"retries":%[8]s,`+
		`"additionalInfo":%[9]s},"response":%[10]s,"status":"%[11]s","additionalInfo":%[12]s}`,
		proto.FormatUUID(c.Request), r.Clock.Now()-time.Since(c.Made).Milliseconds(), of, c.Expires.UnixMilli(), c.OneWay,
		proto.AppendJSONString(nil, c.Method), proto.AppendJSONString(nil, c.Params), retries, appendText(nil, c.Info), answer, state, info)
}

// appendText appends a text as JSON, null for none.
func appendText(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	return proto.AppendJSONString(b, text)
}
