package ruling

import (
	"encoding/json"
	"strconv"
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
	r.run(len(own.Method)+len(own.Params)+len(own.Info)+len(answer), func() {
		r.handleQuietly(&rules.Message{
			Type: "RPC_" + state, Originator: rules.Entity{Type: proto.DeviceEntity, ID: own.Device}, Time: r.Clock.Now(),
			Data: r.callJSON(&own, state, answer),
		})
	})
}

// callJSON is a persistent call as a server writes it.
func (r *Rules) callJSON(c *calls.Call, state, answer string) string {
	id := proto.FormatUUID(c.Request)
	of := `,"tenantId":` + r.Tenant().JSON() + `,"deviceId":` + rules.Entity{Type: proto.DeviceEntity, ID: c.Device}.JSON()
	end := strconv.AppendInt([]byte(`,"expirationTime":`), c.Expires.UnixMilli(), 10)
	b := append([]byte(`{"id":{"entityType":"RPC","id":"`), id...)
	b = strconv.AppendInt(append(b, `"},"createdTime":`...), r.Clock.Now()-time.Since(c.Made).Milliseconds(), 10)
	b = append(append(append(b, of...), end...), `,"request":{"id":"`...)
	b = append(append(append(append(b, id...), '"'), of...), `,"oneway":`...)
	b = append(append(strconv.AppendBool(b, c.OneWay), end...), `,"body":{"method":`...)
	b = proto.AppendJSONString(append(proto.AppendJSONString(b, c.Method), `,"params":`...), c.Params)
	b = append(b, `},"persisted":true,"retries":`...)
	if c.Retries == "" {
		b = append(b, "null"...)
	}
	b = appendText(append(append(b, c.Retries...), `,"additionalInfo":`...), c.Info)
	b = append(b, `},"response":`...)
	switch {
	case answer == "":
		b = append(b, "null"...)
	case json.Valid([]byte(answer)):
		b = append(b, answer...)
	default:
		b = append(proto.AppendJSONString(append(b, `{"error":`...), answer), '}')
	}
	b = append(append(append(b, `,"status":"`...), state...), `","additionalInfo":`...)
	if c.Info == "" || !json.Valid([]byte(c.Info)) {
		return string(append(b, "null}"...))
	}
	return string(append(append(b, c.Info...), '}'))
}

// appendText appends a text as JSON, null for none.
func appendText(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	return proto.AppendJSONString(b, text)
}
