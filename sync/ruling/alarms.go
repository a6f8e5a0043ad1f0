package ruling

import (
	"encoding/json"
	"fmt"
	"sync"

	"edgesync/proto"
	"edgesync/sync/rules"
)

// maxAlarms bounds the open alarms that are known by their type without a look at the medium.
const maxAlarms = 1024

// alarmKey is what one open alarm there is at most of.
type alarmKey struct {
	originator rules.Entity
	kind       string
}

// alarms know which open alarm is whose. Any goroutine.
type alarms struct {
	mu    sync.Mutex // guards what follows; the registry is called with it held
	known bool
	open  map[alarmKey]proto.UUID
	keys  map[proto.UUID]alarmKey // the other way round

	heard sync.Mutex              // guards what follows; taken with locks of the registry held
	fresh map[proto.UUID]struct{} // what the registry has changed since
	many  bool                    // more than that
}

func (a *alarms) init() {
	a.open, a.keys, a.fresh = make(map[alarmKey]proto.UUID), make(map[proto.UUID]alarmKey), make(map[proto.UUID]struct{})
}

// touch notes that an alarm of the registry has changed.
func (a *alarms) touch(id proto.UUID) {
	a.heard.Lock()
	defer a.heard.Unlock()
	if a.fresh[id] = struct{}{}; len(a.fresh) > maxAlarms {
		a.many = true
		clear(a.fresh)
	}
}

// news is what has changed since the last call.
func (a *alarms) news() (ids []proto.UUID, many bool) {
	a.heard.Lock()
	defer a.heard.Unlock()
	for id := range a.fresh {
		ids = append(ids, id)
	}
	many, a.many = a.many, false
	clear(a.fresh)
	return ids, many
}

// note keeps what is known of an alarm; nil: it is gone. a is locked.
func (a *alarms) note(id proto.UUID, is *rules.Alarm) {
	if key, ok := a.keys[id]; ok && a.open[key] == id {
		delete(a.open, key)
	}
	delete(a.keys, id)
	if is != nil && !is.Cleared && len(a.open) < maxAlarms {
		key := alarmKey{is.Originator, is.Type}
		a.open[key], a.keys[id] = id, key
	}
}

// OpenAlarm implements rules.Registry.
func (r *Rules) OpenAlarm(e *rules.Entity, kind string) *rules.Alarm {
	a := &r.alarms
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh, many := a.news()
	if !a.known || many {
		a.known = true
		clear(a.open)
		clear(a.keys)
		r.Registry.Entities(proto.KindAlarm, func(id proto.UUID, text []byte) bool {
			if is := readAlarm(id, text); is != nil {
				a.note(id, is)
			}
			return true
		})
	}
	for _, id := range fresh {
		text, _ := r.Registry.Entity(proto.KindAlarm, id)
		a.note(id, readAlarm(id, text))
	}
	id, ok := a.open[alarmKey{*e, kind}]
	if !ok {
		return nil
	}
	return r.AlarmByID(id)
}

// AlarmByID implements rules.Registry.
func (r *Rules) AlarmByID(id proto.UUID) *rules.Alarm {
	id = r.Registry.AlarmID(id)
	text, ok := r.Registry.Entity(proto.KindAlarm, id)
	if !ok {
		return nil
	}
	return readAlarm(id, text)
}

// readAlarm reads an alarm's JSON (CONTRACT.md 5.6); nil if it is none.
func readAlarm(id proto.UUID, text []byte) *rules.Alarm {
	var j struct {
		Type, Severity                      string
		Originator                          ref
		OriginatorName, OriginatorLabel     string
		Acknowledged, Cleared               bool
		CreatedTime                         int64
		StartTs, EndTs, AckTs, ClearTs      int64
		Details                             json.RawMessage
		Propagate                           bool
		PropagateToOwner, PropagateToTenant bool
		PropagateRelationTypes              []string
	}
	if len(text) == 0 || json.Unmarshal(text, &j) != nil {
		return nil
	}
	e, ok := j.Originator.entity()
	if !ok {
		return nil
	}
	return &rules.Alarm{
		ID: id, Type: j.Type, Severity: j.Severity, Originator: e, OriginatorName: j.OriginatorName, OriginatorLabel: j.OriginatorLabel,
		Acknowledged: j.Acknowledged, Cleared: j.Cleared, Created: j.CreatedTime, Start: j.StartTs, End: j.EndTs,
		AcknowledgedAt: j.AckTs, ClearedAt: j.ClearTs, Details: string(j.Details), Propagate: j.Propagate,
		PropagateOwner: j.PropagateToOwner, ToTenant: j.PropagateToTenant, Relations: j.PropagateRelationTypes,
	}
}

// saveAlarm stores an alarm; one without id is new.
func (r *Rules) saveAlarm(a *rules.Alarm) error {
	if a.ID == (proto.UUID{}) {
		a.ID = proto.NewUUID()
	}
	if err := r.Registry.KeepAlarm(a.ID, []byte(a.JSON(r))); err != nil {
		return fmt.Errorf("store the alarm: %w", err)
	}
	return nil
}
