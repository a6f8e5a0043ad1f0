package rules

import "strings"

// change is a step of an upgrade: of an older configuration the flag decides which text a member
// gets, or a member is set that is missing.
type change struct {
	typ      string // several end alike: Attr
	flag     string // "": the member gets yes where it is missing
	key      string
	yes, no  string
	lessThan int64 // the version that does not need it any more
}

// changes are the steps that a table can say (RULES.md 4.2), but those that say what is so anyway.
// The others are in upgrade.
var changes = [...]change{
	{"TbGetAttributesNode", "fetchToData", "fetchTo", "DATA", "METADATA", 1},
	{"TbGetDeviceAttrNode", "fetchToData", "fetchTo", "DATA", "METADATA", 1},
	{"TbGetCustomerAttributeNode", "telemetry", "dataToFetch", "LATEST_TELEMETRY", "ATTRIBUTES", 1},
	{"TbGetTenantAttributeNode", "telemetry", "dataToFetch", "LATEST_TELEMETRY", "ATTRIBUTES", 1},
	{"TbGetRelatedAttributeNode", "telemetry", "dataToFetch", "LATEST_TELEMETRY", "ATTRIBUTES", 1},
	{"TbGetCustomerDetailsNode", "addToMetadata", "fetchTo", "METADATA", "DATA", 1},
	{"TbGetTenantDetailsNode", "addToMetadata", "fetchTo", "METADATA", "DATA", 1},
	{"TbFetchDeviceCredentialsNode", "fetchToMetadata", "fetchTo", "METADATA", "DATA", 1},
	{"TbCopyKeysNode", "fromMetadata", "copyFrom", "METADATA", "DATA", 2},
	{"TbRenameKeysNode", "fromMetadata", "renameIn", "METADATA", "DATA", 2},
	{"TbDeleteKeysNode", "fromMetadata", "deleteFrom", "METADATA", "DATA", 2},
	{"TbMsgAttributesNode", "", "updateAttributesOnlyOnValueChange", "false", "", 1},
	{"TbMsgAttributesNode", "", "notifyDevice", "true", "", 2},
	{"TbMsgAttributesNode", "", "sendAttributesUpdatedNotification", "false", "", 2},
	{"TbMsgAttributesNode", "", "updateAttributesOnlyOnValueChange", "true", "", 2},
	{"TbGetTelemetryNode", "", "fetchMode", "LAST", "", 2},
}

// upgrade brings a configuration from an older version to the one that is executed.
func upgrade(typ string, from int64, t *tree) {
	c := &config{t: t}
	typ = typ[strings.IndexByte(typ, '.')+1:]
	for i := range changes {
		s := &changes[i]
		have := c.text(s.key)
		switch {
		case s.typ != typ || from >= s.lessThan:
		case s.flag == "" && have == "":
			t.set(s.key, textTree(s.yes))
		case s.flag == "":
		case have != "" && t.get(s.flag) == nil && t.get("dataToFetch") == nil: // it has the new shape
		case c.text(s.flag) == "METADATA" || c.text("dataToFetch") == "METADATA" || c.flag(s.flag):
			t.set(s.key, textTree(s.yes))
		default:
			t.set(s.key, textTree(s.no))
		}
	}
	// Members that have another name now.
	for _, old := range [...]string{"attrMapping", "fieldsMapping"} {
		if m := t.get(old); m != nil {
			t.set("dataMapping", m)
		}
	}
	swap := t.get("entityCacheExpiration") != nil
	switch typ {
	case "TbMsgTimeseriesNode", "TbMsgAttributesNode":
		how := `{"type":"ON_EVERY_MESSAGE"}`
		if c.flag("skipLatestPersistence") {
			how = `{"type":"ADVANCED","timeseries":` + how + `,"latest":{"type":"SKIP"}}`
		}
		v, _ := parseTree(how)
		t.set("processingSettings", v)
	case "TbGetOriginatorFieldsNode", "TbGetCustomerAttributeNode", "TbGetTenantAttributeNode", "TbGetRelatedAttributeNode":
		t.set("fetchTo", textTree("METADATA"))
	case "TbCheckRelationNode":
		swap = true
	case "TbMsgGeneratorNode":
		if c.text("originatorType") == "" || trim(c.text("originatorId")) == "" {
			t.set("originatorType", textTree("RULE_NODE"))
		}
	}
	if swap {
		to := "FROM"
		if is(c.text("direction"), "FROM") {
			to = "TO"
		}
		t.set("direction", textTree(to))
	}
}
