package cloudtest

import (
	"slices"
	"time"

	"edgesync/proto"
)

// RemakeEdge deletes the edge and its devices and makes them again: with the same key, secret,
// names and credentials, and other ids, as people do on a server that was set up anew. The stream
// of the old edge stays open (CONTRACT.md 2.6). It returns the new edge.
func (c *Cloud) RemakeEdge(id proto.UUID) Edge { return c.tenant.RemakeEdge(id) }

// RestoreEdge takes the edge back to what it was, its secret above all, as a server does that was
// restored from a backup: every stream ends, and no EdgeUpdateMsg says what has changed.
func (c *Cloud) RestoreEdge(e Edge) {
	c.tenant.SaveEdge(e)
	c.EndSessions(EndReset)
}

func (t *Tenant) edge(id proto.UUID) (Edge, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[id]
	if st == nil {
		return Edge{}, false
	}
	return st.Edge, true
}

// RemakeEdge does what Cloud.RemakeEdge says. An unknown edge leaves all as it is, and the edge
// that is returned has no id.
func (t *Tenant) RemakeEdge(id proto.UUID) Edge {
	e, ok := t.edge(id)
	if !ok {
		return Edge{}
	}
	mine := t.devicesOf(id)
	t.DeleteEdge(id)
	e.ID, e.Created = t.NewID(), time.Now()
	t.AddEdge(e)
	for _, d := range mine {
		t.Delete(d.ID)
		d.ID = t.NewID()
		t.AddDevice(e.ID, d)
	}
	return e
}

// devicesOf lists the devices that are assigned to an edge, in order of creation.
func (t *Tenant) devicesOf(edge proto.UUID) (list []Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.order[typeDevice] {
		if r := t.find(typeDevice, id); slices.Contains(r.edges, edge) {
			list = append(list, r.device())
		}
	}
	return list
}

// SendEdgeUpdate sends a connected edge an EdgeUpdateMsg with any configuration, as a hostile or
// faulty server may.
func (c *Cloud) SendEdgeUpdate(id proto.UUID, config *proto.EdgeConfiguration) {
	if s := c.sessionOf(id); s != nil {
		s.postMsg(&proto.ResponseMsg{EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: config}})
	}
}
