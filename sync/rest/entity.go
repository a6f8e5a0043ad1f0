package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// named finds another entity of that name. There must be none, or the server would rename the new
// one (CONTRACT.md 4.8). Dashboards may share their names.
func (c *call) named(def *entityDef, name string, but proto.UUID) (found proto.UUID, taken bool) {
	switch def {
	case dashboardDef:
		return found, false
	case deviceDef:
		d, ok := c.Registry.ByName(name)
		return d.ID, ok && d.ID != but
	}
	c.Registry.Entities(def.kind, func(id proto.UUID, text []byte) bool {
		var j struct{ Name string }
		if json.Unmarshal(text, &j) == nil && j.Name == name && id != but {
			found, taken = id, true
		}
		return !taken
	})
	return found, taken
}

// save is POST of an entity: with an id it replaces that entity, without one it makes an entity.
func (c *call) save(def *entityDef) (any, error) {
	in, err := c.object()
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	if !isNull(in["id"]) {
		return c.update(def, in)
	}
	if !c.admin() {
		return nil, errForbidden
	}
	if def == deviceDef {
		return c.create(in, c.query("accessToken"))
	}
	id := proto.NewUUID()
	out, err := c.build(def, in, nil, id)
	if err != nil {
		return nil, err
	}
	if _, taken := c.named(def, out.text(def.name), id); taken {
		return nil, bad(def.word + " with such name already exists!")
	}
	return c.put(def, out, id, proto.ActionAdded)
}

// put queues and stores an entity.
func (c *call) put(def *entityDef, out document, id proto.UUID, action proto.Action) (any, error) {
	text := out.encode()
	t := proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	if action == proto.ActionUpdated {
		t = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	}
	e := c.event(def.kind, action, id, proto.AppendUpdate(nil, def.kind, t, id, string(text)))
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: def.kind, ID: id, Text: string(text)}); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

func (c *call) update(def *entityDef, in document) (any, error) {
	id, _, ok := in.id("id")
	if !ok {
		return nil, bad(def.word + " field id is malformed")
	}
	old, err := c.read1(def, id)
	if err != nil {
		return nil, err
	}
	out, err := c.build(def, in, old, id)
	if err != nil {
		return nil, err
	}
	if !c.admin() && !same(out["customerId"], old["customerId"]) {
		return nil, errForbidden
	}
	if _, taken := c.named(def, out.text(def.name), id); taken {
		return nil, bad(def.word + " with such name already exists!")
	}
	return c.put(def, out, id, proto.ActionUpdated)
}

// create makes a device with an access token; "" stands for a new one.
func (c *call) create(in document, token string) (any, error) {
	return c.createWith(in, &proto.NewDevice{CredentialsID: token})
}

func (c *call) createWith(in document, n *proto.NewDevice) (any, error) {
	n.ID = proto.NewUUID()
	out, err := c.build(deviceDef, in, nil, n.ID)
	if err != nil {
		return nil, err
	}
	if why := badText(n.CredentialsID); why != "" {
		return nil, bad("Validation error: credentialsId " + why)
	}
	text := out.encode()
	n.Name, n.Entity = out.text("name"), string(text)
	switch id, err := c.Creations.Create(c.r.Context(), n); {
	case errors.Is(err, agent.ErrNameTaken) && id == (proto.UUID{}), errors.Is(err, agent.ErrNameTaken) && !c.nameIs(id, n.Name):
		return nil, bad("Device credentials are already assigned to another device!")
	case errors.Is(err, agent.ErrNameTaken):
		return nil, bad("Device with such name already exists!")
	case err != nil:
		c.Log.Warn("a device could not be made by REST", "error", err)
		return nil, &failure{http.StatusServiceUnavailable, codeGeneral, wordsNotStored}
	}
	made := c.event(proto.KindDevice, proto.ActionAdded, n.ID, nil) // which is in the queue already
	return json.RawMessage(text), c.entered([]proto.Event{made}, func() error { return nil })
}

func (c *call) nameIs(id proto.UUID, name string) bool {
	d, ok := c.Registry.ByName(name)
	return ok && d.ID == id
}

// readText reads the JSON of one entity, if the user may see it. Only for a customer's user it is
// taken apart: it may be long.
func (c *call) readText(def *entityDef, id proto.UUID) ([]byte, error) {
	text, ok := c.Registry.Entity(def.kind, id)
	if !ok {
		return nil, errNotFound
	}
	if c.admin() {
		return text, nil
	}
	d, ok := glance(text)
	if !ok {
		return nil, errNotFound
	}
	if !c.sees(def, d) {
		return nil, errForbidden
	}
	return text, nil
}

// read1 reads one entity, if the user may see it.
func (c *call) read1(def *entityDef, id proto.UUID) (document, error) {
	text, err := c.readText(def, id)
	if err != nil {
		return nil, err
	}
	d, ok := decodeDocument(text)
	if !ok {
		return nil, errNotFound
	}
	return d, nil
}

// sees reports whether the user may see an entity: a customer's user sees what is assigned to the
// customer.
func (c *call) sees(def *entityDef, d document) bool {
	if c.admin() {
		return true
	}
	if def == dashboardDef {
		var list []struct {
			ID reference `json:"customerId"`
		}
		if json.Unmarshal(d["assignedCustomers"], &list) != nil {
			return false
		}
		for _, a := range list {
			if a.ID.ID == proto.FormatUUID(c.user.Customer) {
				return true
			}
		}
		return false
	}
	id, _, ok := d.id("customerId")
	return ok && id == c.user.Customer && id != proto.NullUUID
}

// argID is an id in the path.
func (c *call) argID(i int) (proto.UUID, error) {
	id, ok := proto.ParseUUID(c.args[i])
	if !ok {
		return id, bad("Invalid UUID string: it must be like 784f394c-42b6-435a-983c-b7beff2784f9")
	}
	return id, nil
}

func (c *call) get(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	text, err := c.readText(def, id)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

func (c *call) delete(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	if _, err := c.read1(def, id); err != nil {
		return nil, err
	}
	if c.referenced(id) {
		return nil, bad("Can't delete " + strings.ToLower(def.word) + " that has entity views or is referenced in calculated fields!")
	}
	e := c.event(def.kind, proto.ActionDeleted, id,
		proto.AppendUpdate(nil, def.kind, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, id, ""))
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: def.kind, ID: id, Deleted: true}); err != nil {
		return nil, err
	}
	c.Latest.forget(id)
	return nil, nil
}

// referenced reports whether the server would refuse to delete an entity (CONTRACT.md 4.5).
func (c *call) referenced(id proto.UUID) (yes bool) {
	name := []byte(proto.FormatUUID(id))
	refers := func(own string) func(proto.UUID, []byte) bool {
		return func(_ proto.UUID, text []byte) bool {
			d, ok := decodeDocument(text)
			if !ok || !bytes.Contains(text, name) {
				return true
			}
			of, _, _ := d.id("entityId")
			if own == "" {
				yes = of == id // an entity view of it
			} else {
				yes = of != id // a calculated field of another entity, which takes values of it
			}
			return !yes
		}
	}
	c.Registry.Entities(proto.KindEntityView, refers(""))
	if !yes {
		c.Registry.Entities(proto.KindCalculatedField, refers("arguments"))
	}
	return yes
}
