package rest

import (
	"encoding/json"
	"sync"
	"time"

	"edgesync/proto"
)

// A rule chain whose metadata is missing is asked for at most once in askEvery; askedMost chains
// are remembered.
const (
	askEvery  = time.Minute
	askedMost = 64
)

// asks remembers which metadata the cloud was asked for.
type asks struct {
	mu   sync.Mutex
	when map[proto.UUID]time.Time
}

// due reports whether a chain is to be asked for now, and notes that it is.
func (a *asks) due(id proto.UUID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, t := range a.when {
		if now.Sub(t) >= askEvery {
			delete(a.when, k)
		}
	}
	if _, asked := a.when[id]; asked || len(a.when) >= askedMost {
		return false
	}
	a.when[id] = now
	return true
}

// ruleChain is GET of a rule chain, of those that the cloud has assigned to this edge.
func (c *call) ruleChain() (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	text, ok := c.Registry.Entity(proto.KindRuleChain, id)
	if !ok {
		return nil, errNotFound
	}
	return json.RawMessage(text), nil
}

// ruleChainMetadata is GET of a rule chain's nodes. If they are not here the cloud is asked for
// them (CONTRACT.md 5.9), and the answer is 404 until they have come.
func (c *call) ruleChainMetadata() (any, error) {
	if _, err := c.ruleChain(); err != nil {
		return nil, err
	}
	id, _ := c.argID(0)
	if text, ok := c.Registry.Entity(proto.KindRuleChainMetadata, id); ok {
		return json.RawMessage(text), nil
	}
	if c.asks.due(id, c.now) {
		f := proto.AppendRequest(nil, proto.KindRuleChainMetadataAsk, id, "")
		if err := c.accept([]proto.Event{c.event(proto.KindRuleChainMetadataAsk, proto.ActionRuleChainMetadataRequest,
			id, f)}); err != nil {
			return nil, err
		}
	}
	return nil, &failure{404, codeNotFound, "not here yet: the cloud has been asked for it"}
}
