package cloudtest

import (
	"errors"
	"time"

	"edgesync/proto"
)

// uplink is one UplinkMsg while it is processed. Tenant.mu is held meanwhile.
type uplink struct {
	t    *Tenant
	edge *edgeState
	now  time.Time
	out  *Outcome

	// failed is the text of the first failed future. The rest of the uplink is processed
	// nevertheless (CONTRACT.md 4.2).
	failed string
	never  bool

	// Events for the edge. They are rendered when all parts are done, because the server reads the
	// database when it sends.
	renames  []func() *proto.DownlinkMsg
	attrs    []*proto.DownlinkMsg
	series   []*proto.DownlinkMsg
	requests []*proto.DownlinkMsg
}

// thrown is an exception: it ends the uplink, while earlier parts stay applied (CONTRACT.md 4.2).
type thrown struct {
	text  string // the root cause; may have several lines
	where string // processor and method that threw, for the stack trace
}

func (e *thrown) Error() string { return e.text }

// fail notes a failed future.
func (u *uplink) fail(text, where string) {
	if u.failed == "" {
		u.failed = text + trace(where)
	}
}

// trace is the part of an error text behind the root cause: stack trace lines, on which no client
// may depend (CONTRACT.md 4.5).
func trace(where string) string {
	const session = "org.thingsboard.server.service.edge.rpc.EdgeGrpcSession"
	return "\norg.thingsboard.server.service.edge.rpc.processor." + where + "\n" +
		session + ".processUplinkMsg(EdgeGrpcSession.java:849)\n" +
		session + ".onUplinkMsg(EdgeGrpcSession.java:452)\n" +
		session + "$1.onNext(EdgeGrpcSession.java:206)"
}

// Process processes one uplink of the edge as the server does: fixed order of the parts, silent
// drops, value conversions, attribute time filter, errors with the server's texts. Parts applied
// before an error stay applied (CONTRACT.md 4, 5, 7).
func (t *Tenant) Process(edge proto.UUID, m *proto.UplinkMsg, now time.Time) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Uplinks++
	var out Outcome
	st := t.edges[edge]
	if st == nil {
		st = &edgeState{Edge: Edge{ID: edge}, deleted: true}
	}
	u := &uplink{t: t, edge: st, now: now, out: &out}
	err := u.run(m)
	for _, render := range u.renames {
		if down := render(); down != nil {
			out.Events = append(out.Events, down)
		}
	}
	out.Events = append(out.Events, u.attrs...)
	out.Events = append(out.Events, u.series...)
	out.Events = append(out.Events, u.requests...)
	var ex *thrown
	switch {
	case errors.As(err, &ex):
		out.Error = ex.text + trace(ex.where)
	case u.failed != "":
		out.Error = u.failed
	case u.never:
		out.Never = true
	default:
		out.Success = true
	}
	return out
}

// run processes the parts in the server's order, whatever the order of their fields
// (CONTRACT.md 4.2).
func (u *uplink) run(m *proto.UplinkMsg) error {
	steps := [...]func(*proto.UplinkMsg) error{
		u.deviceProfiles, u.devices, u.deviceCredentials, u.assetProfiles, u.assets, u.ruleChains, u.ruleChainMetadata, u.entityViews,
		u.entityData, u.alarms, u.alarmComments, u.relations, u.dashboards, u.resources, u.ruleChainMetadataRequests,
		u.attributesRequests, u.relationRequests, u.calculatedFieldRequests, u.userCredentialsRequests, u.deviceCredentialsRequests,
		u.rpcCalls, u.widgetBundleTypesRequests, u.entityViewsRequests, u.calculatedFields, u.aiModels, u.users, u.userCredentials,
		u.apiKeys,
	}
	for _, step := range steps {
		if err := step(m); err != nil {
			return err
		}
	}
	return nil
}

// all processes the elements of one part and counts them.
func all[T any](u *uplink, list []T, work func(T) error) error {
	for _, m := range list {
		u.t.counts.Events++
		if err := work(m); err != nil {
			return err
		}
	}
	return nil
}

// drop counts an element that is acknowledged and silently dropped (CONTRACT.md 4.7).
func (u *uplink) drop() { u.t.counts.Dropped++ }

// unsupported is the failed future of a message type that the part does not know.
func (u *uplink) unsupported(typ proto.UpdateMsgType, where string) {
	name, known := proto.UpdateMsgType_name[int32(typ)]
	if !known {
		name = "UNRECOGNIZED"
	}
	u.fail("Unsupported msg type "+name, where)
}

// typeOf reads the name of an entity type. The error for an unknown name is thrown.
func typeOf(name, where string) (entityType, error) {
	typ, ok := typeNumbers[name]
	if !ok {
		return 0, &thrown{"No enum constant org.thingsboard.server.common.data.EntityType." + name, where}
	}
	return typ, nil
}

func scopeNamed(name, where string) (scope, error) {
	sc, ok := scopeOf(name)
	if !ok {
		return 0, &thrown{"No enum constant org.thingsboard.server.common.data.AttributeScope." + name, where}
	}
	return sc, nil
}

// rpcErrors are the words that an answer may carry as an error (CONTRACT.md 8.1).
var rpcErrors = map[string]bool{"NOT_FOUND": true, "FORBIDDEN": true, "NO_ACTIVE_CONNECTION": true, "TIMEOUT": true, "INTERNAL": true}

// rpcCalls puts answers and calls of devices into the outcome. A message that is neither is
// acknowledged and forgotten.
func (u *uplink) rpcCalls(m *proto.UplinkMsg) error {
	return all(u, m.GetDeviceRpcCallMsg(), func(c *proto.DeviceRpcCallMsg) error {
		switch {
		case c.GetResponseMsg() != nil:
			if word := c.GetResponseMsg().GetError(); word != "" && !rpcErrors[word] {
				return &thrown{
					"No enum constant org.thingsboard.server.common.data.rpc.RpcError." + word,
					"device.DeviceEdgeProcessor.processDeviceRpcResponseFromEdge(DeviceEdgeProcessor.java:147)",
				}
			}
			u.out.RPCReplies = append(u.out.RPCReplies, c)
		case c.GetRequestMsg() != nil:
			u.out.RPCCalls = append(u.out.RPCCalls, c)
		default:
			u.drop()
		}
		return nil
	})
}
