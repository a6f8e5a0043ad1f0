package cloudtest

import (
	"time"

	"edgesync/proto"
)

// AddCustomer creates a customer and returns the event for every edge that is assigned to it.
func (t *Tenant) AddCustomer(id proto.UUID, title string) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := newRecord(ref{typeCustomer, id})
	r.set("createdTime", millisText(time.Now()))
	r.set("tenantId", idJSON(ref{typeTenant, t.id}))
	t.rename(r, title)
	t.insert(r)
	return customerDown(r, created)
}

// AddUser creates a user of a customer (proto.NullUUID: a tenant administrator) with an activation
// token instead of a password. The event goes to every edge of the tenant, also to those of other
// customers (CONTRACT.md 6.3).
func (t *Tenant) AddUser(id, customer proto.UUID, email string) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	authority := `"CUSTOMER_USER"`
	if customer == proto.NullUUID {
		authority = `"TENANT_ADMIN"`
	}
	r := newRecord(ref{typeUser, id})
	r.set("createdTime", millisText(now))
	r.set("tenantId", idJSON(ref{typeTenant, t.id}))
	r.set("customerId", idJSON(ref{typeCustomer, customer}))
	r.set("authority", authority)
	t.rename(r, email)
	r.secret = []byte(`{"id":{"id":"` + proto.FormatUUID(t.newID(now)) + `"},"createdTime":` + millisText(now) +
		`,"userId":` + idJSON(r.ref) +
		`,"enabled":false,"password":null,"activateToken":"` + t.randomWord(40) + `","activateTokenExpTime":` +
		millisText(now.Add(24*time.Hour)) +
		`,"resetToken":null,"resetTokenExpTime":null,"lastLoginTs":null,"failedLoginAttempts":null,"additionalInfo":{}}`)
	t.insert(r)
	return userDown(r, created)
}

// AllowProvisioning lets devices that know the key and the secret provision themselves with the
// device profile of that name, which is made if there is none (API.md 5). It returns the event for
// the edges.
func (t *Tenant) AllowProvisioning(profile, key, secret string) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.profileNamed(typeDeviceProfile, profile, time.Now())
	r.set("provisionType", `"ALLOW_CREATE_NEW_DEVICES"`)
	r.set("provisionDeviceKey", quoted(key))
	r.set("profileData", `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"},`+
		`"provisionConfiguration":{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":`+quoted(secret)+`},"alarms":null}`)
	return &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{deviceProfileMsg(r, created)}}
}

// AssignCustomer assigns the edge to a customer, or with proto.NullUUID takes it from its customer.
// It returns the messages for that edge's queue; the EdgeUpdateMsg comes in addition
// (CONTRACT.md 2.8). Users of a former customer are not deleted one by one.
func (t *Tenant) AssignCustomer(edge, customer proto.UUID) (events []*proto.DownlinkMsg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[edge]
	if st == nil || st.Customer == customer {
		return nil
	}
	old := st.Customer
	st.Customer = customer
	if r := t.find(typeCustomer, customer); r != nil {
		events = append(events, customerDown(r, created))
	}
	events = append(events, &proto.DownlinkMsg{EdgeConfiguration: t.configuration(st)})
	if customer == proto.NullUUID {
		return append(events, deletedDown(ref{typeCustomer, old}))
	}
	for _, id := range t.order[typeUser] {
		if r := t.find(typeUser, id); refOf(r.field("customerId"), typeCustomer).id == customer {
			events = append(events, userDown(r, created))
		}
	}
	return events
}

// AckAlarm acknowledges an alarm as a user of the server does. It returns the system comment, which
// is all that an edge gets of it without a push node in the cloud (CONTRACT.md 6.3), or nil for an
// alarm that is unknown or acknowledged already.
func (t *Tenant) AckAlarm(id proto.UUID, now time.Time) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeAlarm, id)
	if r == nil || string(r.field("acknowledged")) == "true" {
		return nil
	}
	r.set("acknowledged", "true")
	r.set("ackTs", millisText(now))
	r.setStatus()
	return t.systemComment(r, "Alarm was acknowledged by user ", "ACKED_BY_USER", now)
}

// ClearAlarm clears an alarm as a user of the server does, and returns what AckAlarm does.
func (t *Tenant) ClearAlarm(id proto.UUID, now time.Time) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeAlarm, id)
	if r == nil || string(r.field("cleared")) == "true" {
		return nil
	}
	t.forgetActive(r)
	r.set("cleared", "true")
	r.set("clearTs", millisText(now))
	r.setStatus()
	return t.systemComment(r, "Alarm was cleared by user ", "CLEARED_BY_USER", now)
}

// systemComment adds the server's own comment to an alarm.
func (t *Tenant) systemComment(r *record, words, subtype string, now time.Time) *proto.DownlinkMsg {
	admin := t.find(typeUser, t.admin)
	id := t.newID(now)
	body := `{"text":` + quoted(words+admin.name) + `,"subtype":"` + subtype + `","userName":` + quoted(admin.name) + `}`
	text := `{"alarmId":` + idJSON(r.ref) + `,"userId":` + idJSON(admin.ref) + `,"type":"SYSTEM","comment":` + body +
		`,"id":{"id":"` + proto.FormatUUID(id) +
		`"},"createdTime":` + millisText(now) + `,"name":` + quoted(body) + `}`
	r.comments = append(r.comments, comment{id: id, json: []byte(text)})
	return &proto.DownlinkMsg{AlarmCommentUpdateMsg: []*proto.AlarmCommentUpdateMsg{{Entity: text}}}
}
