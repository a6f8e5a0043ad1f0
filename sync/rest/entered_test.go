package rest_test

import (
	"encoding/json"
	"slices"
	"testing"
)

// Rule chains hear of all that people do over REST, once, and of nothing that is refused (RULES.md
// 2.2). Comments cannot be made here.
func TestRuleChainsHear(t *testing.T) {
	r := newRig(t)
	idOf := func(body string) string {
		var j struct{ ID struct{ ID string } }
		_ = json.Unmarshal([]byte(body), &j)
		return j.ID.ID
	}
	made, alarm := "", ""
	relation := `{"from":` + ref("ASSET", hall) + `,"to":` + ref("DEVICE", meter) + `,"type":"Contains"}`
	ends := "?fromId=" + text(hall) + "&fromType=ASSET&toId=" + text(meter) + "&toType=DEVICE&relationType=Contains"
	data := "/api/plugins/telemetry/DEVICE/" + text(meter)
	hot := func(severity string) string {
		return `{"type":"hot","severity":"` + severity + `","originator":` + ref("DEVICE", meter) + `}`
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     []string
	}{
		{"device", "POST", "/api/device", `{"name":"new","type":"default"}`, 200, []string{"ADDED DEVICE 5"}},
		{"device again", "POST", "/api/device", `{"name":"new","type":"default"}`, 400, nil},
		{"device with token", "POST", "/api/device?accessToken=t0", `{"name":"n2","type":"default"}`, 200, []string{"ADDED DEVICE 5"}},
		{"device changed", "POST", "/api/device", "made", 200, []string{"UPDATED DEVICE 5"}},
		{"device deleted", "DELETE", "/api/device/", "", 200, []string{"DELETED DEVICE 5"}},
		{"asset", "POST", "/api/asset", `{"name":"roof","type":"default"}`, 200, []string{"ADDED ASSET 5"}},
		{"series", "POST", data + "/timeseries/ANY", `[{"ts":1,"values":{"a":1}},{"ts":2,"values":{"a":2}}]`, 200, []string{
			"TIMESERIES_UPDATED ENTITY_DATA 5", "TIMESERIES_UPDATED ENTITY_DATA 5",
		}},
		{"no series", "POST", data + "/timeseries/ANY", `{}`, 400, nil},
		{"series deleted", "DELETE", data + "/timeseries/delete?keys=a&deleteAllDataForKeys=true", "", 200, []string{
			"TIMESERIES_DELETED ENTITY_DATA 5",
		}},
		{"attributes", "POST", data + "/attributes/SHARED_SCOPE", `{"a":1}`, 200, []string{"ATTRIBUTES_UPDATED ENTITY_DATA 5"}},
		{"attributes deleted", "DELETE", data + "/SHARED_SCOPE?keys=a", "", 200, []string{"ATTRIBUTES_DELETED ENTITY_DATA 5"}},
		{"relation", "POST", "/api/relation", relation, 200, []string{"RELATION_ADD_OR_UPDATE RELATION 5"}},
		{"relation deleted", "DELETE", "/api/relation" + ends, "", 200, []string{"RELATION_DELETED RELATION 5"}},
		{"relations deleted", "DELETE", "/api/relations?entityType=ASSET&entityId=" + text(hall), "", 200, []string{
			"RELATIONS_DELETED ENTITY_DATA 5",
		}},
		{"alarm", "POST", "/api/alarm", hot("MAJOR"), 200, []string{"ADDED ALARM 5"}},
		{"alarm worse", "POST", "/api/alarm", hot("CRITICAL"), 200, []string{"UPDATED ALARM 5"}},
		{"comment", "POST", "/api/alarm/ALARM/comment", `{"comment":{"text":"x"}}`, 405, nil},
		{"comment deleted", "DELETE", "/api/alarm/ALARM/comment/" + text(99), "", 404, nil},
		{"alarm assigned", "POST", "/api/alarm/ALARM/assign/" + text(admin), "", 404, nil},
		{"alarm acknowledged", "POST", "/api/alarm/ALARM/ack", "", 200, []string{"ALARM_ACK ALARM 5"}},
		{"alarm cleared", "POST", "/api/alarm/ALARM/clear", "", 200, []string{"ALARM_CLEAR ALARM 5"}},
		{"alarm deleted", "DELETE", "/api/alarm/ALARM", "", 200, []string{"DELETED ALARM 5"}},
		{"customer", "POST", "/api/customer/" + text(customer) + "/device/" + text(lamp), "", 404, nil},
		{"rule engine", "POST", "/api/rule-engine/DEVICE/" + text(lamp), "{}", 404, nil},
		{"persistent call", "POST", "/api/rpc/oneway/" + text(lamp), `{"method":"m","params":1,"persistent":true}`, 400, nil},
		{"persistent call deleted", "DELETE", "/api/rpc/persistent/" + text(99), "", 404, nil},
	} {
		r.heard = nil
		if c.body == "made" {
			c.body = `{"id":{"entityType":"DEVICE","id":"` + made + `"},"name":"newer","type":"default"}`
		}
		if c.name == "device deleted" {
			c.path += made
		}
		if p := "/api/alarm/ALARM"; len(c.path) >= len(p) && c.path[:len(p)] == p {
			c.path = "/api/alarm/" + alarm + c.path[len(p):]
		}
		a := r.send("admin@x", c.method, c.path, c.body)
		if a.status != c.status || !slices.Equal(r.heard, c.want) {
			t.Errorf("%s: %d %s, %q; want %d, %q", c.name, a.status, a.body, r.heard, c.status, c.want)
		}
		switch c.name {
		case "device":
			made = idOf(a.body)
		case "alarm":
			alarm = idOf(a.body)
		}
	}
}
