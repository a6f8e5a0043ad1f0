package rules

// upgrade brings a configuration from an older version to the one that is executed (RULES.md
// 4.2).
func upgrade(typ string, from int64, t *tree) {
	always := object("type", textTree("ON_EVERY_MESSAGE"))
	is := func(key string) bool { return (&config{t: t}).flag(key) }
	missing := func(key string) bool { return t.get(key).null() }
	set := func(key, value string) { t.set(key, textTree(value)) }
	// choose sets a member by a flag.
	choose := func(flag, key, yes, no string) {
		if is(flag) {
			set(key, yes)
		} else {
			set(key, no)
		}
	}
	switch typ {
	case "telemetry.TbMsgTimeseriesNode":
		if t.set("processingSettings", always); is("skipLatestPersistence") {
			skip := object("type", textTree("SKIP"))
			t.set("processingSettings", object("type", textTree("ADVANCED"),
				"timeseries", always, "latest", skip, "webSockets", always, "calculatedFields", always))
		}
	case "telemetry.TbMsgAttributesNode":
		if from == 0 && missing("updateAttributesOnlyOnValueChange") {
			t.set("updateAttributesOnlyOnValueChange", boolTree(false))
		}
		if from <= 1 {
			for key, otherwise := range map[string]bool{
				"notifyDevice": true, "sendAttributesUpdatedNotification": false, "updateAttributesOnlyOnValueChange": true,
			} {
				if missing(key) {
					t.set(key, boolTree(otherwise))
				}
			}
		}
		t.set("processingSettings", always)
	case "transform.TbCopyKeysNode", "transform.TbRenameKeysNode", "transform.TbDeleteKeysNode":
		key := map[string]string{
			"transform.TbCopyKeysNode": "copyFrom", "transform.TbRenameKeysNode": "renameIn", "transform.TbDeleteKeysNode": "deleteFrom",
		}[typ]
		word := textOf(t, "fromMetadata")
		if word == "" {
			word = textOf(t, "dataToFetch")
		}
		switch {
		case word == "DATA" || word == "METADATA":
			set(key, word)
		case missing(key):
			choose("fromMetadata", key, "METADATA", "DATA")
		}
	case "metadata.TbGetAttributesNode", "metadata.TbGetDeviceAttrNode":
		choose("fetchToData", "fetchTo", "DATA", "METADATA")
	case "metadata.TbGetCustomerAttributeNode", "metadata.TbGetTenantAttributeNode", "metadata.TbGetRelatedAttributeNode":
		choose("telemetry", "dataToFetch", "LATEST_TELEMETRY", "ATTRIBUTES")
		if m := t.get("attrMapping"); m != nil {
			t.set("dataMapping", m)
		}
		set("fetchTo", "METADATA")
	case "metadata.TbGetOriginatorFieldsNode":
		if m := t.get("fieldsMapping"); m != nil {
			t.set("dataMapping", m)
		}
		set("fetchTo", "METADATA")
	case "metadata.TbGetCustomerDetailsNode", "metadata.TbGetTenantDetailsNode":
		choose("addToMetadata", "fetchTo", "METADATA", "DATA")
	case "metadata.TbFetchDeviceCredentialsNode":
		choose("fetchToMetadata", "fetchTo", "METADATA", "DATA")
	case "metadata.TbGetTelemetryNode":
		upgradeHistory(t)
	case "filter.TbCheckRelationNode":
		swapDirection(t)
	case "action.TbCreateRelationNode", "action.TbDeleteRelationNode":
		if t.get("entityCacheExpiration") != nil {
			swapDirection(t)
		}
	}
}

func upgradeHistory(t *tree) {
	given := func(key, otherwise string) {
		if textOf(t, key) == "" {
			t.set(key, textTree(otherwise))
		}
	}
	if textOf(t, "fetchMode") == "" {
		t.set("fetchMode", textTree("LAST"))
		t.set("orderBy", textTree("DESC"))
		t.set("aggregation", textTree("NONE"))
	}
	given("orderBy", "ASC")
	given("aggregation", "NONE")
	if t.get("limit").null() {
		t.set("limit", wholeTree(1000))
	}
}

func swapDirection(t *tree) {
	swapped := "FROM"
	if textOf(t, "direction") == "FROM" {
		swapped = "TO"
	}
	t.set("direction", textTree(swapped))
}
