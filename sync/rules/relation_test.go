package rules

import (
	"fmt"
	"strings"
	"testing"
)

// Each message type leaves the switch by the relation of RULES.md 3.2, written in any case.
func TestRelationsOfTypes(t *testing.T) {
	for line := range strings.SplitSeq(strings.TrimSpace(`
POST_ATTRIBUTES_REQUEST Post attributes
POST_TELEMETRY_REQUEST Post telemetry
TO_SERVER_RPC_REQUEST RPC Request from Device
RPC_CALL_FROM_SERVER_TO_DEVICE RPC Request to Device
ACTIVITY_EVENT Activity Event
INACTIVITY_EVENT Inactivity Event
CONNECT_EVENT Connect Event
DISCONNECT_EVENT Disconnect Event
ENTITY_CREATED Entity Created
ENTITY_UPDATED Entity Updated
ENTITY_DELETED Entity Deleted
ENTITY_ASSIGNED Entity Assigned
ENTITY_UNASSIGNED Entity Unassigned
ENTITY_ASSIGNED_FROM_TENANT Entity Assigned From Tenant
ENTITY_ASSIGNED_TO_TENANT Entity Assigned To Tenant
ATTRIBUTES_UPDATED Attributes Updated
ATTRIBUTES_DELETED Attributes Deleted
TIMESERIES_UPDATED Timeseries Updated
TIMESERIES_DELETED Timeseries Deleted
REST_API_REQUEST REST API request
ALARM Alarm
ALARM_CREATED Alarm Created
ALARM_UPDATED Alarm Updated
ALARM_SEVERITY_UPDATED Alarm Severity Updated
ALARM_ACK Alarm Acknowledged
ALARM_CLEAR Alarm Cleared
ALARM_ASSIGNED Alarm Assigned
ALARM_UNASSIGNED Alarm Unassigned
COMMENT_CREATED Comment Created
COMMENT_UPDATED Comment Updated
RPC_QUEUED RPC Queued
RPC_SENT RPC Sent
RPC_DELIVERED RPC Delivered
RPC_SUCCESSFUL RPC Successful
RPC_TIMEOUT RPC Timeout
RPC_EXPIRED RPC Expired
RPC_FAILED RPC Failed
RPC_DELETED RPC Deleted
RELATION_ADD_OR_UPDATE Relation Added or Updated
RELATION_DELETED Relation Deleted
RELATIONS_DELETED All Relations Deleted
ALARM_DELETE Other
ENTITY_ASSIGNED_TO_EDGE Other
ENTITY_UNASSIGNED_FROM_EDGE Other
PROVISION_SUCCESS Other
PROVISION_FAILURE Other
SEND_EMAIL Other
MY_TYPE Other
alarm Other
_ Other`), "\n") {
		typ, relation, _ := strings.Cut(line, " ")
		for _, name := range []string{relation, strings.ToUpper(relation), strings.ToLower(relation)} {
			e := testEdge(t, Options{})
			e.chain(t, rootID, true, []string{
				`filter.TbMsgTypeSwitchNode|s|{}`, `transform.TbTransformMsgNode|t|{"scriptLang":"TBEL","tbelScript":` +
					`"return {msg: {t: msgType}, metadata: {ts: '5'}, msgType: 'POST_TELEMETRY_REQUEST'};"}`, push,
			}, "0>1:"+name, "1>2:Success")
			got := e.send(t, 0, deviceID, typ, `{}`)
			want := fmt.Sprintf(`cloud {"t":%q}`, typ)
			if got != want && !strings.HasPrefix(got, want+"; device ") { // a call is given all the same
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			if typ != "alarm" && relation != "Other" {
				e.chain(t, rootID, true, []string{`filter.TbMsgTypeSwitchNode|s|{}`, push}, "0>1:Other")
				if got := e.say(t, fmt.Sprintf(`{"at":1,"in":{"msgType":%q,"originator":{"entityType":"DEVICE","id":%q},"data":{}}}`,
					typ, deviceID)); strings.Contains(got, "failed") || e.e.Sums().Accepted != 1 {
					t.Errorf("%s takes Other: %s", typ, got)
				}
			}
		}
	}
}

// A script or an output that names Failure fails its message where Failure leads nowhere, as a node
// that fails (RULES.md 3.1); any other name, and none, ends it.
func TestFailureByName(t *testing.T) {
	for names, failed := range map[string]uint64{`['Failure']`: 1, `['x', 'Failure']`: 1, `['failure']`: 0, `['x']`: 0, `[]`: 0} {
		e := testEdge(t, Options{Drop: true})
		e.chain(t, rootID, true, []string{
			`filter.TbJsSwitchNode|s|{"scriptLang":"TBEL","tbelScript":"return ` + names + `;"}`, push,
		}, "0>1:y")
		e.post(t, 0, `{"t":1}`)
		if s := e.e.Sums(); s.Failed != failed || s.Accepted != 0 {
			t.Errorf("%s: %+v", names, s)
		}
	}
	for name, failed := range map[string]uint64{"Failure": 1, "x": 0, "": 0} {
		e := testEdge(t, Options{Drop: true})
		e.chain(t, rootID, true, []string{`flow.TbRuleChainInputNode|in|{"ruleChainId":"` + otherID + `"}`})
		e.chain(t, otherID, false, []string{`flow.TbRuleChainOutputNode|` + name + `|{}`})
		e.post(t, 0, `{"t":1}`)
		if s := e.e.Sums(); s.Failed != failed || s.Accepted != 0 {
			t.Errorf("output %q: %+v", name, s)
		}
	}
}

// The limit of executions is the tenant's, 200 without one, and never more than 10,000.
func TestLimits(t *testing.T) {
	e := New(nil, nil, Options{})
	for n, limit := range map[int]int32{-1: 200, 0: 200, 50: 50, 10_000: 10_000, 20_000: 10_000, 1 << 30: 10_000} {
		if e.SetLimit(n); e.limit.Load() != limit {
			t.Errorf("%d: %d, want %d", n, e.limit.Load(), limit)
		}
	}
}
