package cloudtest

import (
	"encoding/json"
	"strings"

	"edgesync/proto"
)

// This file holds the parts of an uplink that carry entities, each a few lines around
// uplink.entity.

func (u *uplink) deviceProfiles(m *proto.UplinkMsg) error {
	return all(u, m.GetDeviceProfileUpdateMsg(), func(m *proto.DeviceProfileUpdateMsg) error { return u.entity(deviceProfileKind, m, nil) })
}

func (u *uplink) assetProfiles(m *proto.UplinkMsg) error {
	return all(u, m.GetAssetProfileUpdateMsg(), func(m *proto.AssetProfileUpdateMsg) error { return u.entity(assetProfileKind, m, nil) })
}

func (u *uplink) devices(m *proto.UplinkMsg) error {
	return all(u, m.GetDeviceUpdateMsg(), func(m *proto.DeviceUpdateMsg) error {
		return u.entity(deviceKind, m, u.profiled(typeDeviceProfile, "deviceProfileId",
			"Device is referencing non existing device profile!"))
	})
}

func (u *uplink) assets(m *proto.UplinkMsg) error {
	return all(u, m.GetAssetUpdateMsg(), func(m *proto.AssetUpdateMsg) error {
		return u.entity(assetKind, m, u.profiled(typeAssetProfile, "assetProfileId", "Asset is referencing non existing asset profile!"))
	})
}

// profiled finds the profile of an entity: by its id, else by the name in "type" (created if there
// is none so named), else the default profile (CONTRACT.md 5.5).
func (u *uplink) profiled(typ entityType, member, unknown string) resolve {
	return func(next *record, o object) error {
		var profile *record
		if o.given(member) != nil {
			if profile = u.t.records[refOf(o[member], typ)]; profile == nil {
				return &thrown{unknown, "device.BaseDeviceProcessor.saveOrUpdateDevice(BaseDeviceProcessor.java:75)"}
			}
		} else {
			profile = u.t.profileNamed(typ, o.text("type"), u.now)
		}
		next.set(member, idJSON(profile.ref))
		next.set("type", quoted(profile.name))
		return nil
	}
}

// credentialsTypes are the words of CONTRACT.md 5.5.
var credentialsTypes = []string{"ACCESS_TOKEN", "X509_CERTIFICATE", "MQTT_BASIC", "LWM2M_CREDENTIALS"}

// deviceCredentials are stored for a known device, dropped for another (CONTRACT.md 4.7).
func (u *uplink) deviceCredentials(m *proto.UplinkMsg) error {
	const where = "device.DeviceEdgeProcessor.processDeviceCredentialsMsgFromEdge(DeviceEdgeProcessor.java:103)"
	return all(u, m.GetDeviceCredentialsUpdateMsg(), func(m *proto.DeviceCredentialsUpdateMsg) error {
		o, err := readObject(m.GetEntity(), "security.DeviceCredentials", where)
		if err != nil {
			return err
		}
		typ, ok, err := o.word("credentialsType", "security.DeviceCredentialsType", credentialsTypes, where)
		if err != nil {
			return err
		}
		device := refOf(o["deviceId"], typeDevice)
		if o.given("deviceId") == nil {
			return &thrown{"Incorrect deviceId null", where}
		}
		r := u.t.records[device]
		if r == nil {
			u.drop()
			return nil
		}
		if !ok {
			return &thrown{"Device credentials type should be specified!", where}
		}
		key, value := o.text("credentialsId"), o.text("credentialsValue")
		switch typ {
		case "MQTT_BASIC":
			key, value = basicCredentials(value, key)
		case "X509_CERTIFICATE":
			key = sha3Hex(certificateBody(value))
		}
		if key == "" {
			return &thrown{"Device credentials id should be specified!", where}
		}
		if other, taken := u.t.byCred[key]; taken && other != r.id {
			return &thrown{"Device credentials are already assigned to another device!", where}
		}
		u.t.saveCredentials(r, typ, key, value, u.now)
		return nil
	})
}

func (u *uplink) ruleChains(m *proto.UplinkMsg) error {
	return all(u, m.GetRuleChainUpdateMsg(), func(m *proto.RuleChainUpdateMsg) error {
		root := false
		err := u.entity(ruleChainKind, m, func(next *record, o object) error {
			root = string(o["root"]) == "true"
			next.set("root", "false") // a chain of edges may be the root of an edge, never of the tenant
			next.set("type", `"EDGE"`)
			return nil
		})
		if err == nil && root {
			u.edge.root = proto.UUIDOf(m.GetIdMSB(), m.GetIdLSB())
		}
		return err
	})
}

// ruleChainMetadata stores nodes and connections. Those of an unknown chain are dropped
// (CONTRACT.md 5.8).
func (u *uplink) ruleChainMetadata(m *proto.UplinkMsg) error {
	const where = "rule.RuleChainEdgeProcessor.processRuleChainMetadataMsgFromEdge(RuleChainEdgeProcessor.java:96)"
	return all(u, m.GetRuleChainMetadataUpdateMsg(), func(m *proto.RuleChainMetadataUpdateMsg) error {
		if typ := m.GetMsgType(); typ != created && typ != updated {
			u.unsupported(typ, where)
			return nil
		}
		o, err := readObject(m.GetEntity(), "rule.RuleChainMetaData", where)
		if err != nil {
			return err
		}
		r := u.t.records[refOf(o["ruleChainId"], typeRuleChain)]
		if r == nil {
			u.drop()
			return nil
		}
		return u.storeNodes(r, o, where)
	})
}

// storeNodes stores the nodes and connections of a rule chain's metadata.
func (u *uplink) storeNodes(r *record, o object, where string) error {
	var nodes []object
	if raw := o.given("nodes"); raw != nil && json.Unmarshal(raw, &nodes) != nil {
		return &thrown{"Cannot deserialize value of type " +
			"`java.util.ArrayList<org.thingsboard.server.common.data.rule.RuleNode>`", where}
	}
	var list []string
	for _, n := range nodes {
		text, err := u.ruleNode(r, n, where)
		if err != nil {
			return err
		}
		list = append(list, text)
	}
	orNull := func(name string) string {
		if raw := o.given(name); raw != nil && string(raw) != "[]" {
			return string(raw)
		}
		return "null"
	}
	r.metadata = json.RawMessage(`"firstNodeIndex":` + orNull("firstNodeIndex") + `,"nodes":[` + strings.Join(list, ",") +
		`],"connections":` + orNull("connections") + `,"ruleChainConnections":` + orNull("ruleChainConnections"))
	r.version++
	return nil
}

// ruleNode is a node as the server stores it. A node without configuration fails; only the middle
// part of the server's text for that is certain, because the text was seen outside the recordings
// only.
func (u *uplink) ruleNode(chain *record, n object, where string) (string, error) {
	class := n.text("type")
	if n.given("configuration") == nil {
		return "", &thrown{class[strings.LastIndexByte(class, '.')+1:] + " node configuration is invalid: no configuration", where}
	}
	var b strings.Builder
	for i, m := range []string{
		"id", "createdTime", "ruleChainId", "type", "name", "debugSettings", "singletonMode", "queueName", "configurationVersion",
		"configuration", "externalId", "additionalInfo",
	} {
		text := string(n.given(m))
		switch {
		case m == "ruleChainId":
			text = idJSON(chain.ref)
		case text != "":
		case m == "id":
			text = `{"entityType":"RULE_NODE","id":"` + proto.FormatUUID(u.t.newID(u.now)) + `"}`
		case m == "createdTime":
			text = millisText(u.now)
		case m == "singletonMode":
			text = "false"
		case m == "configurationVersion":
			text = "0"
		default:
			text = "null"
		}
		if i == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(quoted(m) + ":" + text)
	}
	return b.String() + "}", nil
}

func (u *uplink) entityViews(m *proto.UplinkMsg) error {
	return all(u, m.GetEntityViewUpdateMsg(), func(m *proto.EntityViewUpdateMsg) error {
		return u.entity(entityViewKind, m, u.about(entityViewKind))
	})
}

// about checks the member entityId, both of whose members must be there (CONTRACT.md 5.1).
func (u *uplink) about(k *kind) resolve {
	return func(_ *record, o object) error {
		_, _, err := o.originator("entityId", k.where)
		return err
	}
}

func (u *uplink) dashboards(m *proto.UplinkMsg) error {
	return all(u, m.GetDashboardUpdateMsg(), func(m *proto.DashboardUpdateMsg) error { return u.entity(dashboardKind, m, nil) })
}

func (u *uplink) resources(m *proto.UplinkMsg) error {
	return all(u, m.GetResourceUpdateMsg(), func(m *proto.ResourceUpdateMsg) error { return u.entity(resourceKind, m, nil) })
}

func (u *uplink) calculatedFields(m *proto.UplinkMsg) error {
	return all(u, m.GetCalculatedFieldUpdateMsg(), func(m *proto.CalculatedFieldUpdateMsg) error {
		return u.entity(calculatedFieldKind, m, u.about(calculatedFieldKind))
	})
}

func (u *uplink) aiModels(m *proto.UplinkMsg) error {
	return all(u, m.GetAiModelUpdateMsg(), func(m *proto.AiModelUpdateMsg) error { return u.entity(aiModelKind, m, nil) })
}

func (u *uplink) users(m *proto.UplinkMsg) error {
	return all(u, m.GetUserUpdateMsg(), func(m *proto.UserUpdateMsg) error { return u.entity(userKind, m, nil) })
}

func (u *uplink) apiKeys(m *proto.UplinkMsg) error {
	return all(u, m.GetApiKeyUpdateMsg(), func(m *proto.ApiKeyUpdateMsg) error { return u.entity(apiKeyKind, m, nil) })
}

// userCredentials are stored for a known user.
func (u *uplink) userCredentials(m *proto.UplinkMsg) error {
	const where = "user.UserEdgeProcessor.processUserCredentialsMsgFromEdge(UserEdgeProcessor.java:88)"
	return all(u, m.GetUserCredentialsUpdateMsg(), func(m *proto.UserCredentialsUpdateMsg) error {
		o, err := readObject(m.GetEntity(), "security.UserCredentials", where)
		if err != nil {
			return err
		}
		r := u.t.records[refOf(o["userId"], typeUser)]
		if r == nil {
			u.drop()
			return nil
		}
		var b strings.Builder
		id := string(o.given("id"))
		if id == "" {
			id = `{"id":"` + proto.FormatUUID(u.t.newID(u.now)) + `"}`
		}
		b.WriteString(`{"id":` + id + `,"createdTime":` + millisText(u.now) + `,"userId":` + idJSON(r.ref))
		for _, name := range []string{
			"enabled", "password", "activateToken", "activateTokenExpTime", "resetToken", "resetTokenExpTime", "lastLoginTs",
			"failedLoginAttempts", "additionalInfo",
		} {
			text := string(o.given(name))
			if text == "" {
				text = "null"
			}
			b.WriteString(`,"` + name + `":` + text)
		}
		r.secret = json.RawMessage(b.String() + "}")
		return nil
	})
}
