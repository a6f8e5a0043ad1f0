package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"edgesync/proto"
)

// An alarm that is raised here while one of the same type and originator is active in the cloud
// keeps the cloud's id there, and nothing says so (CONTRACT.md 13.5). The cloud's id shows when the
// cloud sends that alarm. From then on both are one alarm, under the cloud's id, and the other id
// is remembered: people here may know it, and events under it may still be in the queue.

// maxOtherIDs bounds the ids that are remembered. At the bound those without events in the queue
// give way; while all have some, a further one is not remembered.
const maxOtherIDs = 128

// AlarmID is the id under which the cloud has an alarm: another than id, if the alarm was raised on
// both sides and the cloud has sent its own, else id. Any goroutine.
func (r *Registry) AlarmID(id proto.UUID) proto.UUID {
	key := otherIDs.key(id)
	if !r.has(key) {
		return id
	}
	if v, ok := r.get(key); ok && len(v) == len(id) {
		return proto.UUID(v)
	}
	return id
}

// jsonAlarm is what tells one alarm from another, and what happens to it.
type jsonAlarm struct {
	Type         string `json:"type"`
	Originator   jsonID `json:"originator"`
	Acknowledged bool   `json:"acknowledged"`
	Cleared      bool   `json:"cleared"`
}

// joinAlarms wraps the application of an alarm that the cloud sends. There is at most one alarm of
// a type and originator that is not cleared, so another one here is the same.
func (r *Registry) joinAlarms(apply func(c *change) (bool, error)) func(c *change) (bool, error) {
	return func(c *change) (bool, error) {
		var j jsonAlarm
		if c.deleted || !decode([]byte(c.text), &j) || j.Originator.ID == "" {
			return apply(c)
		}
		if j.Cleared {
			return r.applyAfter(r.forgetOthers(c.id), apply, c)
		}
		var err error
		for _, id := range r.idsOf(alarms) {
			if id != c.id {
				err = errors.Join(err, r.join(id, c, &j))
			}
		}
		return r.applyAfter(err, apply, c)
	}
}

func (r *Registry) applyAfter(err error, apply func(c *change) (bool, error), c *change) (bool, error) {
	kept, e := apply(c)
	return kept, errors.Join(err, e)
}

// join makes the alarm own and the one of c, which the cloud sends, one, if they are the same.
// What was done to own here and the cloud does not know yet counts.
func (r *Registry) join(own proto.UUID, c *change, cloud *jsonAlarm) error {
	text, ok := r.get(alarms.key(own))
	if !ok || !bytes.Contains(text, []byte(cloud.Originator.ID)) {
		return nil
	}
	var j jsonAlarm
	id := alarms.id(own)
	if !decode(text, &j) || j.Type != cloud.Type || j.Originator != cloud.Originator || j.Cleared && !r.edited(id) {
		return nil
	}
	var err error
	if r.edited(id) {
		c.text = withMarks(c.text, text)
		err = r.remember(alarms.id(c.id), edit{seq: r.edits[id].seq})
	}
	if e := r.rememberOther(own, c.id); e != nil {
		return errors.Join(err, e)
	}
	_, e := r.remove(alarms.key(own)) // not removeEntity: nothing of it is gone
	return errors.Join(err, e)
}

// withMarks returns an alarm of the cloud acknowledged and cleared as the one here is.
func withMarks(cloud string, own []byte) string {
	var to, from map[string]json.RawMessage
	if json.Unmarshal([]byte(cloud), &to) != nil || json.Unmarshal(own, &from) != nil {
		return cloud
	}
	for _, mark := range [...][2]string{{"acknowledged", "ackTs"}, {"cleared", "clearTs"}} {
		if string(from[mark[0]]) == "true" && string(to[mark[0]]) != "true" {
			to[mark[0]] = from[mark[0]]
			if ts, ok := from[mark[1]]; ok {
				to[mark[1]] = ts
			}
		}
	}
	b, err := json.Marshal(to)
	if err != nil {
		return cloud
	}
	return string(b)
}

// rememberOther notes under which id the cloud has an alarm; errFull if there is no room.
func (r *Registry) rememberOther(own, cloud proto.UUID) (err error) {
	if ids := r.idsOf(otherIDs); len(ids) >= maxOtherIDs {
		room := false
		for _, id := range ids {
			if !r.edited(alarms.id(id)) {
				_, e := r.remove(otherIDs.key(id))
				err, room = errors.Join(err, e), true
			}
		}
		if !room {
			return errors.Join(err, r.full())
		}
	}
	return errors.Join(err, r.put(otherIDs.key(own), cloud[:]))
}

// forgetOthers forgets the other ids of an alarm that was cleared in the cloud. One that was raised
// here meanwhile is an alarm of its own there.
func (r *Registry) forgetOthers(cloud proto.UUID) (err error) {
	for _, id := range r.idsOf(otherIDs) {
		if r.AlarmID(id) == cloud {
			_, e := r.remove(otherIDs.key(id))
			err = errors.Join(err, e)
		}
	}
	return err
}

// toCloudAlarm turns an edit of an alarm that has become another one's into an edit of that one.
func (r *Registry) toCloudAlarm(e *Edit) {
	if id := r.AlarmID(e.ID); id != e.ID {
		e.Text = strings.ReplaceAll(e.Text, proto.FormatUUID(e.ID), proto.FormatUUID(id))
		e.ID = id
	}
}
