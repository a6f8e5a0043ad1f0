package cloudtest

import (
	"encoding/base64"
	"strings"
	"time"

	"edgesync/proto"
)

// chainNode is a node of a rule chain as the server describes it.
type chainNode struct {
	class, name string
	version     string // of the configuration
	conf        string
}

const logConfiguration = `{"scriptLang":"TBEL","jsScript":"` + logScript + `","tbelScript":"` + logScript + `"}`

// logScript is a script of ours that says what the template's says: the message and its metadata.
const logScript = `return JSON.stringify(msg) + ' ' + JSON.stringify(metadata);`

// rootNodes are the nodes of the template "Edge Root Rule Chain" of the server 4.3. ThingsBoard
// Edge refuses a chain whose nodes lack a member that it needs (CONTRACT.md 13.4), so that they are
// complete here.
var rootNodes = []chainNode{
	{
		"telemetry.TbMsgTimeseriesNode", "Save Timeseries", "1",
		`{"defaultTTL":0,"useServerTs":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`,
	},
	{
		"telemetry.TbMsgAttributesNode", "Save Client Attributes", "3",
		`{"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope":"CLIENT_SCOPE","notifyDevice":false,` +
			`"sendAttributesUpdatedNotification":false,"updateAttributesOnlyOnValueChange":true}`,
	},
	{"filter.TbMsgTypeSwitchNode", "Message Type Switch", "0", `{"version":0}`},
	{"action.TbLogNode", "Log RPC from Device", "0", logConfiguration},
	{"action.TbLogNode", "Log Other", "0", logConfiguration},
	{"rpc.TbSendRPCRequestNode", "RPC Call Request", "0", `{"timeoutInSeconds":60}`},
	{"edge.TbMsgPushToCloudNode", "Push to cloud", "0", `{"scope":"CLIENT_SCOPE"}`},
	{"edge.TbMsgPushToCloudNode", "Push to cloud (server)", "0", `{"scope":"SERVER_SCOPE"}`},
}

const rootFirst = `"firstNodeIndex":2`

const rootConnections = `[{"fromIndex":0,"toIndex":6,"type":"Success"},{"fromIndex":1,"toIndex":6,"type":"Success"},` +
	`{"fromIndex":2,"toIndex":0,"type":"Post telemetry"},{"fromIndex":2,"toIndex":1,"type":"Post attributes"},` +
	`{"fromIndex":2,"toIndex":3,"type":"RPC Request from Device"},{"fromIndex":2,"toIndex":4,"type":"Other"},` +
	`{"fromIndex":2,"toIndex":5,"type":"RPC Request to Device"},{"fromIndex":2,"toIndex":7,"type":"Attributes Deleted"},` +
	`{"fromIndex":2,"toIndex":7,"type":"Attributes Updated"}]`

// rootMetadata is the metadata of the root chain of an edge: it saves telemetry and client
// attributes and pushes them to the cloud, with changed attributes, and sends calls to devices.
func (t *Tenant) rootMetadata(chain *record, now time.Time) []byte {
	var nodes []string
	for _, n := range rootNodes {
		nodes = append(nodes, `{"id":{"entityType":"RULE_NODE","id":"`+proto.FormatUUID(t.newID(now))+`"},"createdTime":`+
			millisText(now)+`,"ruleChainId":`+idJSON(chain.ref)+`,"type":"org.thingsboard.rule.engine.`+n.class+
			`","name":"`+n.name+`","debugSettings":null,"singletonMode":false,"queueName":null,"configurationVersion":`+n.version+
			`,"configuration":`+n.conf+`,"externalId":null,"additionalInfo":{"layoutX":1,"layoutY":1}}`)
	}
	return []byte(rootFirst + `,"nodes":[` + strings.Join(nodes, ",") + `],"connections":` + rootConnections +
		`,"ruleChainConnections":null`)
}

// signingKey is the key that the edge's users log in with, in base64. ThingsBoard Edge needs 64
// bytes (CONTRACT.md 13.4).
var signingKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("the key of a cloud for tests ", 3)[:64]))
