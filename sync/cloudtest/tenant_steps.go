package cloudtest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
)

// The tenant administrator that every new tenant has. Tests log in at an edge with it.
const (
	AdminName     = "tenant@example.org"
	AdminPassword = "tenant"
)

// foundation creates the entities of a fresh tenant: the default profiles, a root rule chain for
// edges, a tenant administrator.
func (t *Tenant) foundation(now time.Time) {
	own := idJSON(ref{typeTenant, t.id})
	make := func(typ entityType, id proto.UUID, name string, members ...string) *record {
		r := newRecord(ref{typ, id})
		r.set("createdTime", millisText(now))
		r.set("tenantId", own)
		t.rename(r, name)
		for i := 0; i+1 < len(members); i += 2 {
			r.set(members[i], members[i+1])
		}
		r.version = 1
		t.insert(r)
		return r
	}
	make(typeTenantProfile, t.profile, "Default", "description", `"Default tenant profile"`, "default", "true", "profileData",
		`{"configuration":{"type":"DEFAULT","maxDevices":0,"maxAssets":0,"maxCustomers":0,"maxUsers":0,`+
			`"maxDashboards":0,"maxRuleChains":0,`+
			`"maxEdges":0},"queueConfiguration":null}`)
	make(typeTenant, t.id, "Tenant", "region", `"Global"`, "tenantProfileId", idJSON(ref{typeTenantProfile, t.profile}))
	t.deviceProfile = make(typeDeviceProfile, t.newID(now), "default", "description", `"Default device profile"`, "default", "true").id
	make(typeDeviceProfile, t.newID(now), "thermostat", "description", `"Thermostat device profile"`)
	t.assetProfile = make(typeAssetProfile, t.newID(now), "default", "description", `"Default asset profile"`, "default", "true").id
	chain := make(typeRuleChain, t.newID(now), "Edge Root Rule Chain")
	chain.metadata = t.rootMetadata(chain, now)
	chain.set("firstRuleNodeId", firstNode(chain))
	t.rootChain = chain.id
	admin := make(typeUser, t.newID(now), AdminName, "authority", `"TENANT_ADMIN"`, "customerId",
		idJSON(ref{typeCustomer, proto.NullUUID}))
	// The password is the hash of AdminPassword.
	admin.secret = []byte(`{"id":{"id":"` + proto.FormatUUID(t.newID(now)) + `"},"createdTime":` + millisText(now) +
		`,"userId":` + idJSON(admin.ref) +
		`,"enabled":true,"password":"$2a$10$HN2CwfxBn/gA2Ufvy08x6OFjHJOfQ0rEoF7jHfLK4xC9wEKvPkIJq","activateToken":null,` +
		`"activateTokenExpTime":null,"resetToken":null,"resetTokenExpTime":null,"lastLoginTs":null,"failedLoginAttempts":null,` +
		`"additionalInfo":{}}`)
	t.admin = admin.id
}

// fixtureID is the id of a system entity that is made anew at each sync; the same number gives the
// same id.
func (t *Tenant) fixtureID(group byte, n int) (id proto.UUID) {
	copy(id[:], t.profile[:8])
	id[8] = 0x80 | group
	binary.BigEndian.PutUint32(id[12:], uint32(n)+1)
	return id
}

// Groups of fixtureID.
const (
	groupQueue byte = iota
	groupSettings
	groupWidget
	groupBundle
	groupTemplate
	groupTarget
	groupRule
)

const systemTenant = `{"entityType":"TENANT","id":"13814000-1dd2-11b2-8080-808080808080"}`

// Steps returns the sequence of a sync (CONTRACT.md 3.2): one element a step, each a list of
// messages without ids. Steps without messages and the final SyncCompleted are left out.
func (t *Tenant) Steps(edge proto.UUID, full bool) [][]*proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[edge]
	if st == nil {
		return nil
	}
	var steps [][]*proto.DownlinkMsg
	add := func(wanted bool, make func() []*proto.DownlinkMsg) {
		if wanted {
			if step := make(); len(step) > 0 {
				steps = append(steps, step)
			}
		}
	}
	each := func(typ entityType, take func(*record) bool, down func(*record) *proto.DownlinkMsg) func() []*proto.DownlinkMsg {
		return func() (step []*proto.DownlinkMsg) {
			for _, id := range t.order[typ] {
				if r := t.find(typ, id); take == nil || take(r) {
					step = append(step, down(r))
				}
			}
			return step
		}
	}
	mine := func(r *record) bool { return r.assigned(edge) }
	deviceProfile := func(r *record) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{deviceProfileMsg(r, created)}}
	}
	assetProfile := func(r *record) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{AssetProfileUpdateMsg: []*proto.AssetProfileUpdateMsg{assetProfileMsg(r, created)}}
	}
	userOf := func(customer proto.UUID) func(*record) bool {
		return func(r *record) bool { return refOf(r.field("customerId"), typeCustomer).id == customer }
	}
	user := func(r *record) *proto.DownlinkMsg { return userDown(r, created) }
	customer := func(r *record) *proto.DownlinkMsg { return customerDown(r, created) }

	add(full, t.tenantStep)
	add(full, t.queues)
	add(full, func() (step []*proto.DownlinkMsg) {
		for _, r := range t.chainsOf(st) {
			step = append(step, ruleChainDown(r, r.id == st.root, created))
		}
		return step
	})
	add(full, t.settings)
	add(full, each(typeUser, func(r *record) bool { return text(r.field("authority")) == "TENANT_ADMIN" }, user))
	add(full, t.widgets)
	add(full, t.bundles)
	add(full, each(typeAIModel, nil, func(r *record) *proto.DownlinkMsg {
		m := &proto.AiModelUpdateMsg{Entity: r.marshal()}
		m.IdMSB, m.IdLSB = proto.Halves(r.id)
		return &proto.DownlinkMsg{AiModelUpdateMsg: []*proto.AiModelUpdateMsg{m}}
	}))
	add(true, each(typeCustomer, func(r *record) bool {
		return strings.Contains(string(r.field("additionalInfo")), `"isPublic":true`) && r.id != st.Customer
	}, customer))
	if st.Customer != proto.NullUUID {
		add(true, each(typeCustomer, func(r *record) bool { return r.id == st.Customer }, customer))
		add(true, each(typeUser, userOf(st.Customer), user))
	}
	add(true, each(typeDashboard, mine, func(r *record) *proto.DownlinkMsg { return dashboardDown(r, created) }))
	add(true, func() []*proto.DownlinkMsg {
		return []*proto.DownlinkMsg{
			deviceProfile(t.find(typeDeviceProfile, t.deviceProfile)), assetProfile(t.find(typeAssetProfile, t.assetProfile)),
		}
	})
	add(true, each(typeDeviceProfile, nil, deviceProfile))
	add(true, each(typeAssetProfile, nil, assetProfile))
	add(true, each(typeDevice, mine, func(r *record) *proto.DownlinkMsg { return t.deviceDown(r, created) }))
	add(true, each(typeAsset, mine, func(r *record) *proto.DownlinkMsg { return t.assetDown(r, created) }))
	add(true, each(typeEntityView, mine, func(r *record) *proto.DownlinkMsg { return entityViewDown(r, created) }))
	add(full, t.notificationTemplates)
	add(full, t.notificationTargets)
	add(full, t.notificationRules)
	add(full, t.packageSteps)
	add(full, each(typeDeviceProfile, nil, deviceProfile))
	add(full, each(typeResource, nil, func(r *record) *proto.DownlinkMsg {
		m := &proto.ResourceUpdateMsg{Entity: r.marshal()}
		m.IdMSB, m.IdLSB = proto.Halves(r.id)
		return &proto.DownlinkMsg{ResourceUpdateMsg: []*proto.ResourceUpdateMsg{m}}
	}))
	return steps
}

func (t *Tenant) tenantStep() []*proto.DownlinkMsg {
	return []*proto.DownlinkMsg{{
		TenantUpdateMsg: []*proto.TenantUpdateMsg{{MsgType: updated, Entity: t.find(typeTenant, t.id).marshal()}},
		TenantProfileUpdateMsg: []*proto.TenantProfileUpdateMsg{
			{MsgType: updated, Entity: t.find(typeTenantProfile, t.profile).marshal()},
		},
	}}
}

func (t *Tenant) createdText() string { return string(t.find(typeTenant, t.id).field("createdTime")) }

func (t *Tenant) queues() (step []*proto.DownlinkMsg) {
	for i, name := range []string{"Main", "HighPriority", "SequentialByOriginator"} {
		id := t.fixtureID(groupQueue, i)
		m := &proto.QueueUpdateMsg{Entity: fmt.Sprintf(`{"id":{"entityType":"QUEUE","id":"%s"},"createdTime":%s,"tenantId":%s,"name":"%s",`+
			`"topic":"tb_rule_engine.%s","pollInterval":25,"partitions":10,"consumerPerPartition":true,"packProcessingTimeout":2000,`+
			`"submitStrategy":{"type":"BURST","batchSize":1000},"processingStrategy":{"type":"SKIP_ALL_FAILURES","retries":3,`+
			`"failurePercentage":0.0,"pauseBetweenRetries":3,"maxPauseBetweenRetries":3},"additionalInfo":null}`,
			proto.FormatUUID(id), t.createdText(), systemTenant, name, strings.ToLower(name))}
		m.IdMSB, m.IdLSB = proto.Halves(id)
		step = append(step, &proto.DownlinkMsg{QueueUpdateMsg: []*proto.QueueUpdateMsg{m}})
	}
	return step
}

// settings are the admin settings of the system. "jwt" is among them because the real server hands
// its signing key to every edge (number 21 in CONTRACT.md 10).
func (t *Tenant) settings() (step []*proto.DownlinkMsg) {
	for i, s := range [][2]string{
		{"general", `{"baseUrl":"http://localhost:8080","prohibitDifferentUrl":false}`},
		{"mail", `{"mailFrom":"cloud@example.org","smtpProtocol":"smtp","smtpHost":"localhost","smtpPort":"25","timeout":"10000",` +
			`"enableTls":false,"username":"","password":""}`},
		{"connectivity", `{"http":{"enabled":true,"host":"","port":"8080"},"mqtt":{"enabled":true,"host":"","port":"1883"}}`},
		{"jwt", `{"tokenExpirationTime":9000,"refreshTokenExpTime":604800,"tokenIssuer":"cloud","tokenSigningKey":"` + signingKey + `"}`},
	} {
		step = append(step, &proto.DownlinkMsg{AdminSettingsUpdateMsg: []*proto.AdminSettingsUpdateMsg{{Entity: fmt.Sprintf(
			`{"id":{"entityType":"ADMIN_SETTINGS","id":"%s"},"createdTime":%s,"tenantId":%s,"key":"%s","jsonValue":%s}`,
			proto.FormatUUID(t.fixtureID(groupSettings, i)), t.createdText(), systemTenant, s[0], s[1])}}})
	}
	return step
}

func widgetName(n int) string { return "widget_" + strconv.Itoa(n) }

// widget is the n-th system widget type.
func (t *Tenant) widget(n int) *proto.WidgetTypeUpdateMsg {
	id := t.fixtureID(groupWidget, n)
	m := &proto.WidgetTypeUpdateMsg{Entity: fmt.Sprintf(`{"id":{"entityType":"WIDGET_TYPE","id":"%s"},"createdTime":%s,"tenantId":%s,`+
		`"fqn":"%s","name":"Widget %d","deprecated":false,"scada":%t,"version":null,"descriptor":{"type":"latest","sizeX":4,"sizeY":3,`+
		`"resources":[],"templateHtml":"<div>{{ value }}</div>","templateCss":"","controllerScript":"","defaultConfig":"{}"},"image":null,`+
		`"description":"A synthetic widget","tags":null,"externalId":null,"resources":null}`,
		proto.FormatUUID(id), t.createdText(), systemTenant, widgetName(n), n, n%4 == 3)}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	return m
}

func (t *Tenant) widgets() (step []*proto.DownlinkMsg) {
	for n := range t.widgetTypes {
		step = append(step, &proto.DownlinkMsg{WidgetTypeUpdateMsg: []*proto.WidgetTypeUpdateMsg{t.widget(n)}})
	}
	return step
}

func (t *Tenant) bundles() (step []*proto.DownlinkMsg) {
	for n := range systemBundles {
		id := t.fixtureID(groupBundle, n)
		var names []string
		for w := n; w < t.widgetTypes; w += systemBundles {
			names = append(names, quoted(widgetName(w)))
		}
		widgets := "[" + strings.Join(names, ",") + "]"
		m := &proto.WidgetsBundleUpdateMsg{Widgets: &widgets, Entity: fmt.Sprintf(`{"id":{"entityType":"WIDGETS_BUNDLE","id":"%s"},`+
			`"createdTime":%s,"tenantId":%s,"alias":"bundle_%d","title":"Bundle %d","image":null,"scada":false,"description":"",`+
			`"order":%d,"externalId":null,"version":null,`+
			`"name":"Bundle %d"}`, proto.FormatUUID(id), t.createdText(), systemTenant, n, n, n*100, n)}
		m.IdMSB, m.IdLSB = proto.Halves(id)
		step = append(step, &proto.DownlinkMsg{WidgetsBundleUpdateMsg: []*proto.WidgetsBundleUpdateMsg{m}})
	}
	return step
}

// notification is the common beginning of the JSON of the notification entities, whose messages
// carry no ids (CONTRACT.md 6.4).
func (t *Tenant) notification(group byte, n int, typ, name string) string {
	return fmt.Sprintf(`{"id":{"entityType":"%s","id":"%s"},"createdTime":%s,"tenantId":%s,"name":"%s",`,
		typ, proto.FormatUUID(t.fixtureID(group, n)), t.createdText(), idJSON(ref{typeTenant, t.id}), name)
}

func (t *Tenant) notificationTemplates() (step []*proto.DownlinkMsg) {
	for i, name := range []string{"Maintenance work", "New alarm", "Alarm update"} {
		text := t.notification(groupTemplate, i, "NOTIFICATION_TEMPLATE", name) + `"notificationType":"GENERAL","configuration":` +
			`{"deliveryMethodsTemplates":{"WEB":{"method":"WEB","enabled":true,"body":"","subject":""}}},"externalId":null}`
		step = append(step, &proto.DownlinkMsg{NotificationTemplateUpdateMsg: []*proto.NotificationTemplateUpdateMsg{{Entity: &text}}})
	}
	return step
}

func (t *Tenant) notificationTargets() (step []*proto.DownlinkMsg) {
	for i, name := range []string{"All users", "Tenant administrators"} {
		text := t.notification(groupTarget, i, "NOTIFICATION_TARGET", name) +
			`"configuration":{"type":"PLATFORM_USERS","description":"","usersFilter":{"type":"ALL_USERS"}},"externalId":null}`
		step = append(step, &proto.DownlinkMsg{NotificationTargetUpdateMsg: []*proto.NotificationTargetUpdateMsg{{Entity: &text}}})
	}
	return step
}

func (t *Tenant) notificationRules() []*proto.DownlinkMsg {
	text := t.notification(groupRule, 0, "NOTIFICATION_RULE", "New alarm") + `"enabled":true,"templateId":{"entityType":` +
		`"NOTIFICATION_TEMPLATE","id":"` + proto.FormatUUID(t.fixtureID(groupTemplate, 1)) + `"},"triggerType":"ALARM","triggerConfig":` +
		`{"triggerType":"ALARM","alarmTypes":null,"alarmSeverities":null,"notifyOn":["CREATED"],"clearRule":null},` +
		`"recipientsConfig":{"triggerType":"ALARM","escalationTable":{"0":["` + proto.FormatUUID(t.fixtureID(groupTarget, 1)) + `"]}},` +
		`"additionalConfig":{"description":""},"externalId":null}`
	return []*proto.DownlinkMsg{{NotificationRuleUpdateMsg: []*proto.NotificationRuleUpdateMsg{{Entity: &text}}}}
}
