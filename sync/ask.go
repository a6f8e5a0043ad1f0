package sync

import (
	"time"

	"edgesync/proto"
)

// After each sync the edge asks for what no sync brings (CONTRACT.md 3.2): shared and server
// attributes of every device, because changes made while it was away, or in a default installation
// at any time, come in no other way (CONTRACT.md 6.3); relations and calculated fields of what was
// not here before (CONTRACT.md 7.4). Each answer brings all latest telemetry along, so the
// questions go a few at a time.

// asking are the questions of a session.
type asking struct {
	questions   []question
	underWay    bool // the last questions are not acknowledged
	due         time.Time
	silentSince time.Time // our edge was asked about, and nothing has come down since; zero: no
	// asked are the entities asked about lately. It outlives the session, and is bounded by
	// askTogether, askPause and duplicateFor.
	asked map[proto.UUID]*askedEntity
}

// askedEntity is an entity whose answers may still be under way.
type askedEntity struct {
	at time.Time
	// newest are the newest times of attributes that came down since, by scope: shared, and the
	// server's own. They are in milliseconds since the Unix epoch.
	newest [2]int64
}

// question is what is to be asked about one entity.
type question struct {
	id         proto.UUID
	entityType string
	fresh      bool // it was not here before
}

func newAsking() asking { return asking{asked: make(map[proto.UUID]*askedEntity)} }

func (a *asking) endSession() { *a = asking{asked: a.asked} }

// planAsking collects the questions that are due after a sync (all), or after new entities came.
func (l *loop) planAsking(all bool) {
	a := &l.asking
	if e := l.reg.Edge(); all && e != nil {
		a.questions = a.questions[:0]
		ask := func(msb, lsb int64, entityType string) {
			if id := proto.UUIDOf(msb, lsb); id != (proto.UUID{}) && id != proto.NullUUID {
				a.questions = append(a.questions, question{id, entityType, false})
			}
		}
		ask(e.EdgeIdMSB, e.EdgeIdLSB, "EDGE")
		ask(e.TenantIdMSB, e.TenantIdLSB, "TENANT")
		ask(e.CustomerIdMSB, e.CustomerIdLSB, "CUSTOMER")
	}
	l.reg.ToAsk(all, func(id proto.UUID, entityType string, fresh bool) {
		if l.dependents.await(id) {
			return // the cloud does not have it
		}
		if len(a.questions) >= maxQuestions {
			return // they come and go faster than anybody asks; the next sync asks about what stays
		}
		a.questions = append(a.questions, question{id, entityType, fresh})
	})
}

// maybeAsk sends the next few questions.
func (l *loop) maybeAsk(now time.Time) {
	a := &l.asking
	waits := l.syncing.running || a.underWay || l.sending.limited || now.Before(a.due)
	if len(a.questions) == 0 || waits || l.conn.sess.Queued() >= receiveBelow {
		return
	}
	n := min(askTogether, len(a.questions))
	// The server works the parts off in this order whatever stands first in the message
	// (CONTRACT.md 4.2).
	var b []byte
	for _, q := range a.questions[:n] {
		if q.entityType != "EDGE" {
			b = proto.AppendAttributesRequest(b, q.id, q.entityType, "SHARED_SCOPE")
		} else if a.silentSince.IsZero() {
			a.silentSince = now
		}
		b = proto.AppendAttributesRequest(b, q.id, q.entityType, "SERVER_SCOPE")
		if q.fresh {
			b = proto.AppendRequest(b, proto.KindRelationAsk, q.id, q.entityType)
			b = proto.AppendRequest(b, proto.KindCalculatedFieldAsk, q.id, q.entityType)
		}
	}
	asked := a.questions[:n:n]
	for id, e := range a.asked {
		if now.Sub(e.at) > duplicateFor {
			delete(a.asked, id)
		}
	}
	for _, q := range asked {
		if e := a.asked[q.id]; e != nil {
			e.at = now
		} else {
			a.asked[q.id] = &askedEntity{at: now}
		}
	}
	a.questions = a.questions[n:]
	a.underWay = l.sendDirect(b, sent{at: now, asked: asked})
}

// acknowledged notes that the answers are in the server's queue (CONTRACT.md 7.3).
func (a *asking) acknowledged(now time.Time) {
	a.underWay, a.due = false, now.Add(askPause)
	if len(a.questions) == 0 {
		a.questions = nil
	}
}

// again puts back questions that the cloud did not take because they came too fast.
func (a *asking) again(asked []question, now time.Time) {
	a.questions = append(a.questions, asked...)
	a.underWay, a.due = false, now.Add(pauseMax)
}

// readAnswers corrects what comes down about an entity that was asked about (CONTRACT.md 7.3).
//
// Telemetry is taken out: it is from here, and would be written to flash at each connect. What the
// server pushes at other times stays.
//
// Attributes do not count as older than those that came down before them. An answer carries the
// time of its conversion, and its values were read earlier: a change made between the two follows
// the answer with a time before it.
func (l *loop) readAnswers(d *proto.DownlinkMsg, now time.Time) {
	for _, e := range d.GetEntityData() {
		asked := l.asking.asked[proto.UUIDOf(e.GetEntityIdMSB(), e.GetEntityIdLSB())]
		if asked == nil || now.Sub(asked.at) > duplicateFor {
			continue
		}
		e.PostTelemetryMsg = nil
		if e.AttributeTs == nil || e.PostAttributesMsg == nil && e.AttributesUpdatedMsg == nil {
			continue
		}
		scope := 0
		switch e.GetPostAttributeScope() {
		case "SHARED_SCOPE":
		case "", "SERVER_SCOPE":
			scope = 1
		default:
			continue
		}
		asked.newest[scope] = max(asked.newest[scope], *e.AttributeTs)
		*e.AttributeTs = asked.newest[scope]
	}
}

// heardDownlink notes that the server sends something down.
func (l *loop) heardDownlink(*proto.DownlinkMsg, time.Time) { l.asking.silentSince = time.Time{} }
