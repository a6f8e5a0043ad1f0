package rest

import (
	"encoding/binary"
	"encoding/json"
	"net/http"

	"edgesync/proto"
)

// ref is a reference to an entity.
func ref(entityType string, id proto.UUID) reference {
	return reference{Type: entityType, ID: proto.FormatUUID(id)}
}

// ownEdge is this edge, if the id in the path is its.
func (c *call) ownEdge() (*proto.EdgeConfiguration, proto.UUID, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, id, err
	}
	e := c.Registry.Edge()
	if own, ok := c.Registry.EdgeID(); e == nil || !ok || id != own {
		return nil, id, errNotFound
	}
	return e, id, nil
}

// edgeInfo is ThingsBoard's EdgeInfo. What the cloud does not send down (label, version) is null,
// and the secret is left out.
type edgeInfo struct {
	ID               reference       `json:"id"`
	CreatedTime      int64           `json:"createdTime"`
	TenantID         reference       `json:"tenantId"`
	CustomerID       reference       `json:"customerId"`
	RootRuleChainID  *reference      `json:"rootRuleChainId"`
	Name             string          `json:"name"`
	Type             string          `json:"type"`
	Label            *string         `json:"label"`
	RoutingKey       string          `json:"routingKey"`
	Secret           string          `json:"secret"`
	AdditionalInfo   json.RawMessage `json:"additionalInfo"` // nil: null
	Version          *int64          `json:"version"`
	CustomerTitle    *string         `json:"customerTitle"` // of a customer that is here
	CustomerIsPublic bool            `json:"customerIsPublic"`
}

// edgeInfo is GET of this edge, by its id.
func (c *call) edgeInfo() (any, error) {
	e, id, err := c.ownEdge()
	if err != nil {
		return nil, err
	}
	info := &edgeInfo{
		ID: ref("EDGE", id), CreatedTime: madeAt(id), TenantID: ref("TENANT", proto.UUIDOf(e.TenantIdMSB, e.TenantIdLSB)),
		CustomerID: ref("CUSTOMER", proto.UUIDOf(e.CustomerIdMSB, e.CustomerIdLSB)), Name: e.Name, Type: e.Type,
		RoutingKey: e.RoutingKey, Secret: "***",
	}
	if more := json.RawMessage(e.AdditionalInfo); json.Valid(more) {
		info.AdditionalInfo = more
	}
	if text, ok := c.Registry.EntityText("CUSTOMER", proto.UUIDOf(e.CustomerIdMSB, e.CustomerIdLSB)); ok {
		var g struct {
			Title          *string
			AdditionalInfo struct{ IsPublic bool }
		}
		_ = json.Unmarshal(text, &g) // what is of another type is not known
		info.CustomerTitle, info.CustomerIsPublic = g.Title, g.AdditionalInfo.IsPublic
	}
	c.Registry.Entities(proto.KindRuleChain, func(id proto.UUID, text []byte) bool {
		var g struct{ Root bool }
		if json.Unmarshal(text, &g) == nil && g.Root {
			root := ref("RULE_CHAIN", id)
			info.RootRuleChainID = &root
		}
		return info.RootRuleChainID == nil
	})
	return info, nil
}

// madeAt is when ThingsBoard made an entity, which its id says: a version 1 UUID counts 100 ns
// since 15 October 1582. 0 for ids of other versions.
func madeAt(id proto.UUID) int64 {
	const epoch = 0x01B21DD213814000 // 1970 on that clock
	if id[6]>>4 != 1 {
		return 0
	}
	ticks := uint64(binary.BigEndian.Uint16(id[6:])&0x0fff)<<48 | uint64(binary.BigEndian.Uint16(id[4:]))<<32 |
		uint64(binary.BigEndian.Uint32(id[:]))
	return (int64(ticks) - epoch) / 10_000
}

// syncEdge is POST of the wish for a sync, as in the cloud, where it is asked from the other side.
func (c *call) syncEdge() (any, error) {
	if _, _, err := c.ownEdge(); err != nil {
		return nil, err
	}
	if c.Sync == nil {
		return nil, errNotFound
	}
	if err := c.Sync(c.r.Context()); err != nil {
		return nil, &failure{http.StatusInternalServerError, codeGeneral, err.Error()}
	}
	return nil, nil
}
