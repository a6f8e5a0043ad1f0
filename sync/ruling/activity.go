package ruling

import (
	"strconv"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
)

// Presence is where devices are seen; nil functions know nothing. Any goroutine may call them.
type Presence struct {
	Last      func(id proto.UUID) time.Time // when a device was active last; zero: never in this life
	Connected func(id proto.UUID) bool      // over MQTT, itself or by its gateway
}

const (
	// inactiveAfter is the server's default for a device without the attribute inactivityTimeout.
	inactiveAfter = 600 * time.Second
	// lookAtOnce is how many devices are looked at in a second.
	lookAtOnce = 1000
	// timeoutEvery is how often the attribute is read again.
	timeoutEvery = time.Minute
)

// presence is what is known of the activity of a device, as a server does (RULES.md 2.2). The
// goroutine of work owns it.
type presence struct {
	_                                       uncompared
	connected, active                       bool
	connect, disconnect, activity, inactive int64 // ms since the epoch; 0: never
	told, ended                             int64 // activity and its end, as a node said
	timeout                                 time.Duration
	read                                    time.Time // of timeout
}

// activities are the messages of activity. A chain without a way for them has none made.
var activities = [...]string{"CONNECT_EVENT", "DISCONNECT_EVENT", "ACTIVITY_EVENT", "INACTIVITY_EVENT"}

// cares reports whether a chain does something with messages of activity.
func (r *Rules) cares() bool {
	if r.Off || r.Presence.Last == nil {
		return false
	}
	if r.several.Load() {
		return true
	}
	for _, typ := range activities {
		if w, ok := r.engine.WayOf(proto.UUID{}, typ); ok && w.Run {
			return true
		}
	}
	return false
}

// look looks at the devices, so many in a second, and makes the messages of what has changed.
func (r *Rules) look(now time.Time) {
	if !r.cares() || now.Before(r.nextLook) {
		if len(r.present) > 0 && now.After(r.nextLook.Add(timeoutEvery)) {
			clear(r.present) // no chain wants to know any more
		}
		return
	}
	n := r.Registry.Devices()
	r.nextLook = now.Add(time.Second * time.Duration(1+n/lookAtOnce))
	for id := range r.present {
		if !r.Registry.HasDevice(id) {
			delete(r.present, id)
		}
	}
	var ids []proto.UUID
	r.Registry.Each(func(d registry.Device) bool {
		ids = append(ids, d.ID)
		return true
	})
	for _, id := range ids {
		r.lookAt(id, now)
	}
}

// lookAt looks at one device.
func (r *Rules) lookAt(id proto.UUID, now time.Time) {
	last, connected := r.Presence.Last(id), r.Presence.Connected(id)
	p := r.present[id]
	if p == nil {
		if last.IsZero() && !connected {
			return
		}
		p = new(presence)
		r.present[id] = p
	}
	ms := r.Clock.Now()
	if !last.IsZero() {
		p.activity = max(ms-now.Sub(last).Milliseconds(), p.told)
	}
	if connected != p.connected {
		p.connected = connected
		if connected {
			p.connect = ms
			r.tellActivity(id, p, "CONNECT_EVENT", false)
		} else {
			p.disconnect = ms
			r.tellActivity(id, p, "DISCONNECT_EVENT", true)
		}
	}
	if now.Sub(p.read) >= timeoutEvery {
		p.read, p.timeout = now, r.inactivityTimeout(id)
	}
	active := !last.IsZero() && now.Sub(last) < p.timeout || p.told > 0 && ms-p.told < p.timeout.Milliseconds()
	switch active = active && p.activity > p.ended; {
	case active == p.active:
	case active:
		p.active = true
		r.tellActivity(id, p, "ACTIVITY_EVENT", true)
	default:
		p.active, p.inactive = false, ms
		r.tellActivity(id, p, "INACTIVITY_EVENT", true)
	}
}

// noted is what is known of a device that was not looked at, but heard of. The goroutine of work.
func (r *Rules) noted(id proto.UUID) *presence {
	p := r.present[id]
	if p == nil {
		p = &presence{timeout: r.inactivityTimeout(id)}
		r.present[id] = p
	}
	return p
}

// heardOf notes telemetry of a device that the cloud has sent: it counts as activity (RULES.md
// 2.2). The goroutine of work.
func (r *Rules) heardOf(id proto.UUID) {
	if !r.Registry.HasDevice(id) {
		return
	}
	p := r.noted(id)
	p.told = r.Clock.Now()
	p.activity = p.told
}

// force is what a node says of a device: an event of its state at a time. One that is not newer
// than what is known is left out, as on a server. The goroutine of work.
func (r *Rules) force(id proto.UUID, event string, at int64) {
	p := r.noted(id)
	at = min(at, r.Clock.Now())
	name, last, was := "lastActivityTime", &p.activity, p.active
	switch event {
	case "CONNECT_EVENT":
		name, last = "lastConnectTime", &p.connect
	case "DISCONNECT_EVENT":
		name, last = "lastDisconnectTime", &p.disconnect
	case "INACTIVITY_EVENT":
		if name, last = "lastInactivityAlarmTime", &p.inactive; at <= p.activity {
			return
		}
	}
	if at <= *last {
		return
	}
	*last = at
	switch last {
	case &p.activity:
		p.active, p.told = true, at
	case &p.inactive:
		p.active, p.ended = false, at
	}
	err := r.Registry.KeepValues(id, registry.ServerScope, at, []proto.KV{
		{Key: []byte(name), Type: proto.KeyValueType_LONG_V, Long: at},
		{Key: []byte("active"), Type: proto.KeyValueType_BOOLEAN_V, Bool: p.active},
	})
	if err != nil {
		r.complain("the state of a device is not kept", "", err.Error())
	}
	if last != &p.activity || !was {
		r.tellActivity(id, p, event, last != &p.connect)
	}
}

// inactivityTimeout is after how long without activity a device counts as inactive.
func (r *Rules) inactivityTimeout(id proto.UUID) time.Duration {
	v, ok := r.Attribute(&rules.Entity{Type: proto.DeviceEntity, ID: id}, "SERVER_SCOPE", "inactivityTimeout")
	if ms, err := strconv.ParseInt(v.Value, 10, 64); ok && err == nil && ms > 0 && ms < 366*24*time.Hour.Milliseconds() {
		return time.Duration(ms) * time.Millisecond
	}
	return inactiveAfter
}

// tellActivity makes a message of activity.
func (r *Rules) tellActivity(id proto.UUID, p *presence, typ string, withActive bool) {
	b := []byte{'{'}
	if withActive {
		b = append(strconv.AppendBool(append(b, `"active":`...), p.active), ',')
	}
	for _, f := range [...]struct {
		name string
		ms   int64
	}{
		{"lastConnectTime", p.connect},
		{"lastActivityTime", p.activity},
		{"lastDisconnectTime", p.disconnect},
		{"lastInactivityAlarmTime", p.inactive},
		{"inactivityTimeout", p.timeout.Milliseconds()},
	} {
		b = strconv.AppendInt(append(append(append(b, '"'), f.name...), `":`...), f.ms, 10)
		b = append(b, ',')
	}
	b[len(b)-1] = '}'
	m := r.about(id, typ, string(b), "scope", "SERVER_SCOPE")
	if d, ok := r.Registry.ByID(id); ok && d.Label != "" {
		m.Metadata = append(m.Metadata, pair("deviceLabel", d.Label))
	}
	r.handleQuietly(m)
}

// activityOf is an attribute that says how active a device is; ok is false for others.
func (r *Rules) activityOf(id proto.UUID, key string) (v rules.Stored, ok bool) {
	if r.Presence.Last == nil || key != "active" && key != "lastActivityTime" {
		return v, false
	}
	last := r.Presence.Last(id)
	if last.IsZero() {
		return v, false
	}
	ago := time.Since(last)
	v.Time = r.Clock.Now() - ago.Milliseconds()
	v.Value = strconv.FormatInt(v.Time, 10)
	if key == "active" {
		v.Value = strconv.FormatBool(ago < r.inactivityTimeout(id))
	}
	return v, true
}
