package sync

import (
	"errors"
	"time"

	"edgesync/proto"
)

// After each sync the edge asks for what no sync brings (wire contract 3.2): shared and server attributes of every device, because changes made
// while it was away, or in a default installation at any time, come in no other way (6.3); relations and calculated fields of what was
// not here before (7.4). Each answer brings all latest telemetry along, so the questions go a few at a time.
const (
	askTogether = 20 // entities in one uplink
	askPause    = time.Second
	echoFor     = 3 * time.Minute // after a question telemetry is its echo; another edge may hold it up for two (6.1)
	// deafAfter: the question for our own edge always has an answer. Without any downlink for so long the server does not poll for us
	// (wire contract 10.17); less would not do, for another edge may hold up all downlinks for two minutes (6.1).
	deafAfter = 3 * time.Minute
)

var errDeaf = errors.New("the cloud sends nothing down, although it was asked, for " + deafAfter.String() + "; asking anew over a new stream")

// question is what is to be asked about one entity.
type question struct {
	id         proto.UUID
	entityType string
	fresh      bool
}

// planAsking collects the questions that are due after a sync (all), or after new entities came.
func (l *loop) planAsking(all bool) {
	if e := l.reg.Edge(); all && e != nil {
		l.questions = l.questions[:0]
		ask := func(msb, lsb int64, entityType string, fresh bool) {
			if id := proto.UUIDOf(msb, lsb); id != (proto.UUID{}) && id != proto.NullUUID {
				l.questions = append(l.questions, question{id, entityType, fresh})
			}
		}
		ask(e.EdgeIdMSB, e.EdgeIdLSB, "EDGE", false)
		ask(e.TenantIdMSB, e.TenantIdLSB, "TENANT", false)
		ask(e.CustomerIdMSB, e.CustomerIdLSB, "CUSTOMER", false)
	}
	l.reg.ToAsk(all, func(id proto.UUID, entityType string, fresh bool) {
		l.questions = append(l.questions, question{id, entityType, fresh})
	})
}

// maybeAsk sends the next few questions.
func (l *loop) maybeAsk(now time.Time) {
	if len(l.questions) == 0 || l.syncing || l.asking || l.limited || now.Before(l.askDue) || l.sess.Queued() >= outHigh {
		return
	}
	n := min(askTogether, len(l.questions))
	// The server works the parts off in this order whatever stands first in the message (wire contract 4.2).
	var b []byte
	for _, q := range l.questions[:n] {
		if q.entityType != "EDGE" {
			b = proto.AppendAttributesRequest(b, q.id, q.entityType, "SHARED_SCOPE")
		} else if l.deafSince.IsZero() {
			l.deafSince = now
		}
		b = proto.AppendAttributesRequest(b, q.id, q.entityType, "SERVER_SCOPE")
		if q.fresh {
			b = proto.AppendRequest(b, proto.KindRelationAsk, q.id, q.entityType)
			b = proto.AppendRequest(b, proto.KindCalculatedFieldAsk, q.id, q.entityType)
		}
	}
	asked := l.questions[:n:n]
	for id, at := range l.asked {
		if now.Sub(at) > echoFor {
			delete(l.asked, id)
		}
	}
	for _, q := range asked {
		l.asked[q.id] = now
	}
	l.questions = l.questions[n:]
	l.asking = l.sendDirect(b, sent{at: now, asked: asked})
}

// askAcknowledged: the answers are in the server's queue (wire contract 7.3).
func (l *loop) askAcknowledged(now time.Time) {
	l.asking, l.askDue = false, now.Add(askPause)
	if len(l.questions) == 0 {
		l.questions = nil
	}
}

// dropEcho takes out of a message the telemetry that came only because we asked for attributes (wire contract 7.3): it is from here, and would be written to
// flash at each connect. What the server pushes at other times stays.
func (l *loop) dropEcho(d *proto.DownlinkMsg, now time.Time) {
	for _, e := range d.GetEntityData() {
		at, asked := l.asked[proto.UUIDOf(e.GetEntityIdMSB(), e.GetEntityIdLSB())]
		if asked && now.Sub(at) <= echoFor {
			e.PostTelemetryMsg = nil
		}
	}
}

// deaf tells that the server has not sent anything down although it was asked.
func (l *loop) deaf(now time.Time) bool {
	return !l.deafSince.IsZero() && now.Sub(l.deafSince) >= deafAfter
}
