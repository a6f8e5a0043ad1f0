package sync

import (
	"errors"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// rule is a rule of CONTRACT.md, named by its section, and the test of it against the cloud in a
// box.
type rule struct {
	name string
	f    func(b *box)
}

// conform runs the test of each rule in a box of its own, connected and synchronised.
func conform(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { inBox(t, nil, r.f) })
	}
}

const (
	entityCreated = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	entityUpdated = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	entityDeleted = proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
)

// edit queues and stores a change that a user made at the edge, as the REST API does.
func (b *box) edit(e registry.Edit, action proto.Action, t proto.UpdateMsgType) {
	b.Helper()
	text := e.Text
	if e.Deleted {
		text = ""
	}
	err := b.intake.Accept(b.Context(), []proto.Event{{
		Kind: e.Kind, Action: action, Time: time.Now().UnixMilli(), Entity: e.ID, Fragment: proto.AppendUpdate(nil, e.Kind, t, e.ID, text),
	}})
	if err := errors.Join(err, b.reg.Edit(b.intake.End(), e)); err != nil {
		b.Fatal(err)
	}
}

func (b *box) tenantRef() string {
	return `{"entityType":"TENANT","id":"` + proto.FormatUUID(b.tenant.TenantID()) + `"}`
}

// alarm returns an alarm of a device as JSON.
func (b *box) alarm(id, device proto.UUID) string {
	return `{"id":{"entityType":"ALARM","id":"` + proto.FormatUUID(id) + `"},"tenantId":` + b.tenantRef() +
		`,"type":"hot","severity":"MAJOR","acknowledged":false,"cleared":false,` +
		`"originator":{"entityType":"DEVICE","id":"` + proto.FormatUUID(device) + `"}}`
}
