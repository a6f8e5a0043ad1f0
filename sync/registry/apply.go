package registry

import (
	"encoding/json"
	"errors"
	"io/fs"
	"unsafe"

	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
	"edgesync/wal/store"
)

// Names of the parts of DownlinkMsg that are no records.
const (
	partSyncCompleted = "syncCompletedMsg"
	partEdge          = "edgeConfiguration"
)

// Apply stages what m brings, in the order of CONTRACT.md 6.2, but entityData behind the entities.
// used reports whether any part of m was understood and kept. A part that is malformed or not
// understood is counted and is no error. An error means that the medium refused; m may then be
// applied again.
func (r *Registry) Apply(m *proto.DownlinkMsg) (used bool, err error) {
	if m == nil {
		return false, nil
	}
	r.lock()
	defer r.unlock()
	if err := r.relieve(); err != nil {
		// What takes credentials out of force does so now: it is small, and comes again until it is
		// stored.
		return false, errors.Join(err, r.applySecurity(m))
	}
	r.countReceived(m)
	a := applier{r: r}
	if m.SyncCompletedMsg != nil {
		a.note(partSyncCompleted, true, nil) // the loop acts on it
	}
	if c := m.EdgeConfiguration; c != nil {
		kept, e := r.applyEdge(c)
		a.note(partEdge, kept, e)
	}
	each(&a, deviceProfiles, m.DeviceProfileUpdateMsg, r.applyProfile)
	each(&a, devices, m.DeviceUpdateMsg, r.unlessEdited(r.applyDevice))
	for _, u := range m.DeviceCredentialsUpdateMsg {
		if !a.fits(deviceCredentials, u.GetEntity()) {
			continue
		}
		kept, e := r.credentialsDown([]byte(u.GetEntity()))
		a.note(deviceCredentials.part, kept, e)
	}
	each(&a, assetProfiles, m.AssetProfileUpdateMsg, r.applyEntity)
	each(&a, assets, m.AssetUpdateMsg, r.unlessEdited(r.applyAsset))
	each(&a, entityViews, m.EntityViewUpdateMsg, r.unlessEdited(r.applyEntity))
	for _, e := range m.EntityData {
		kept, err := r.applyEntityData(e)
		a.note(attributes.part, kept, err)
	}
	each(&a, ruleChains, m.RuleChainUpdateMsg, r.applyRuleChain)
	for _, u := range m.RuleChainMetadataUpdateMsg {
		if !a.fits(ruleChainMetadata, u.GetEntity()) {
			continue
		}
		kept, e := r.applyNested(ruleChainMetadata, "ruleChainId", []byte(u.GetEntity()))
		a.note(ruleChainMetadata.part, kept, e)
	}
	each(&a, dashboards, m.DashboardUpdateMsg, r.unlessEdited(r.applyEntity))
	each(&a, alarms, m.AlarmUpdateMsg, r.unlessEdited(r.unlessGone(originator, r.joinAlarms(r.applyAlarm))))
	for _, u := range m.AlarmCommentUpdateMsg {
		if !a.fits(alarmComments, u.GetEntity()) {
			continue
		}
		kept, e := r.applyComment(u.GetMsgType(), []byte(u.GetEntity()))
		a.note(alarmComments.part, kept, e)
	}
	each(&a, customers, m.CustomerUpdateMsg, r.applyCustomer)
	for _, u := range m.RelationUpdateMsg {
		if !a.fits(relations, u.GetEntity()) {
			continue
		}
		kept, e := r.relationDown(u.GetMsgType(), []byte(u.GetEntity()))
		a.note(relations.part, kept, e)
	}
	each(&a, widgetsBundles, m.WidgetsBundleUpdateMsg, r.applyEntity)
	each(&a, widgetTypes, m.WidgetTypeUpdateMsg, r.applyEntity)
	each(&a, users, m.UserUpdateMsg, r.applyUser)
	for _, u := range m.UserCredentialsUpdateMsg {
		if !a.fits(userCredentials, u.GetEntity()) {
			continue
		}
		kept, e := r.applyUserCredentials([]byte(u.GetEntity()))
		a.note(userCredentials.part, kept, e)
	}
	// adminSettingsUpdateMsg holds mail passwords and the server's signing key: counted, never
	// stored (CONTRACT.md 10.21).
	for _, u := range m.OtaPackageUpdateMsg {
		kept, e := r.applyOTA(u)
		a.note(otaPackages.part, kept, e)
	}
	for _, u := range m.TenantProfileUpdateMsg {
		if !a.fits(tenantProfiles, u.GetEntity()) {
			continue
		}
		kept, e := r.applyNested(tenantProfiles, "id", []byte(u.GetEntity()))
		a.note(tenantProfiles.part, kept, e)
	}
	for _, u := range m.TenantUpdateMsg {
		if !a.fits(tenants, u.GetEntity()) {
			continue
		}
		kept, e := r.applyNested(tenants, "id", []byte(u.GetEntity()))
		a.note(tenants.part, kept, e)
	}
	each(&a, resources, m.ResourceUpdateMsg, r.applyResource)
	each(&a, calculatedFields, m.CalculatedFieldUpdateMsg, r.unlessGone(fieldOwner, r.applyEntity))
	if len(r.gone) > 0 && r.roll == nil || len(r.gone) >= maxGone {
		a.err = errors.Join(a.err, r.cascade())
	}
	return a.used, a.err
}

// applySecurity puts in force what m says of devices and users that are gone and of credentials. m
// is applied whole later, when the medium takes writes again; nothing is counted here.
func (r *Registry) applySecurity(m *proto.DownlinkMsg) (err error) {
	if r.stagedBytes > 2*maxStaged {
		// No more may be staged: credentials are taken out of memory only.
		for _, u := range m.DeviceCredentialsUpdateMsg {
			if c, _ := decodeCredentials([]byte(u.GetEntity())); c.device != (proto.UUID{}) {
				r.mu.Lock()
				if e := r.devices[c.device]; e != nil {
					r.unindex(e)
				}
				r.mu.Unlock()
			}
		}
		return nil
	}
	a := applier{r: r}
	each(&a, devices, onlyDeleted(m.DeviceUpdateMsg), r.unlessEdited(r.applyDevice))
	for _, u := range m.DeviceCredentialsUpdateMsg {
		_, e := r.credentialsDown([]byte(u.GetEntity()))
		a.err = errors.Join(a.err, e)
	}
	each(&a, users, onlyDeleted(m.UserUpdateMsg), r.applyUser)
	for _, u := range m.UserCredentialsUpdateMsg {
		_, e := r.applyUserCredentials([]byte(u.GetEntity()))
		a.err = errors.Join(a.err, e)
	}
	return a.err
}

func onlyDeleted[T update](list []T) (deleted []T) {
	for _, u := range list {
		if u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
			deleted = append(deleted, u)
		}
	}
	return deleted
}

// applier gathers what became of the parts of one message.
type applier struct {
	r    *Registry
	used bool
	err  error
}

// note counts what became of one part.
func (a *applier) note(part string, kept bool, err error) {
	switch {
	case errors.Is(err, store.ErrWrite), errors.Is(err, fs.ErrClosed):
		a.err = errors.Join(a.err, err) // what a message could not take out of force on flash is due again
	case errors.Is(err, errMalformed), errors.Is(err, errFull):
		a.r.count(part, func(c *Count) { c.Malformed++ })
		if errors.Is(err, errMalformed) {
			// The content may hold secrets, so only the name of the part is logged.
			a.r.log.Warn("the cloud sent something malformed, which is ignored", "part", part)
		}
	case err != nil:
		a.err = errors.Join(a.err, err)
	case kept:
		a.used = true
		a.r.count(part, func(c *Count) { c.Kept++ })
	}
}

// update is the shape of most update messages (CONTRACT.md 1.5).
type update interface {
	GetMsgType() proto.UpdateMsgType
	GetIdMSB() int64
	GetIdLSB() int64
	GetEntity() string
}

// change is an update message, decoded.
type change struct {
	kind    *kind
	id      proto.UUID
	deleted bool
	text    string // the entity's JSON
}

func each[T update](a *applier, k *kind, list []T, apply func(c *change) (bool, error)) {
	for _, u := range list {
		if !a.fits(k, u.GetEntity()) {
			id := proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB())
			a.r.mark(k, id) // it is still this edge's
			if k == users { // what the user may do has changed
				_, e := a.r.removeUser(id)
				a.err = errors.Join(a.err, e)
			}
			continue
		}
		kept, err := apply(&change{
			kind: k, id: proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()), text: u.GetEntity(),
			deleted: u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
		})
		a.note(k.part, kept, err)
	}
}

// fits reports whether an entity's JSON is within its bound. One that is not is noted here, before
// anything is copied.
func (a *applier) fits(k *kind, text string) bool {
	most := maxParsed
	switch k {
	case dashboards, ruleChains, widgetsBundles, widgetTypes, resources:
		most = maxEntity
	case users: // read with each request
		most = maxUser
	case otaPackages: // read in pieces
		return true
	}
	if len(text) <= most {
		return true
	}
	a.note(k.part, false, errMalformed)
	return false
}

// countReceived counts the parts of m by their names.
func (r *Registry) countReceived(m *proto.DownlinkMsg) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList():
			r.count(string(f.Name()), func(c *Count) { c.Received += uint64(v.List().Len()) })
		case f.Message() != nil:
			r.count(string(f.Name()), func(c *Count) { c.Received++ })
		}
		return true
	})
}

// count changes the counters of a part, of which there are as many as DownlinkMsg has fields.
func (r *Registry) count(part string, change func(*Count)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts[part]
	if c == nil {
		c = &Count{Part: part}
		r.counts[part] = c
	}
	change(c)
}

// mark notes that the running sync brought a record.
func (r *Registry) mark(k *kind, id proto.UUID) {
	if r.roll != nil {
		r.roll.mark(k.id(id))
	}
}

// applyEntity keeps the JSON of an entity that nothing here has to understand. Deletions of
// entities that were never here come by the hundred; each costs one look-up (CONTRACT.md 6.3).
func (r *Registry) applyEntity(c *change) (bool, error) {
	if c.deleted {
		return r.removeEntity(c.kind, c.id)
	}
	if !r.keeps(c.kind.keep) {
		return false, nil
	}
	r.mark(c.kind, c.id)
	// The text itself, not a copy: an entity may have 4 MiB, and nobody writes to what is kept.
	text := unsafe.Slice(unsafe.StringData(c.text), len(c.text))
	if !validObject(text) {
		return false, errMalformed
	}
	if !namesFit(text) {
		return false, errLong
	}
	if err := r.put(c.kind.key(c.id), text); err != nil {
		return false, err
	}
	return true, nil
}

// namesFit reports whether what people and the REST API call an entity by is of a length that can
// be meant.
func namesFit(text []byte) bool {
	var j struct{ Name, Title, Label, Email json.RawMessage }
	if json.Unmarshal(text, &j) != nil {
		return false
	}
	return len(j.Name) <= maxName+2 && len(j.Title) <= maxName+2 && len(j.Label) <= maxName+2 && len(j.Email) <= maxName+2
}

// removeEntity removes a record and notes the entity, so that cascade removes what belonged to it.
func (r *Registry) removeEntity(k *kind, id proto.UUID) (bool, error) {
	there, err := r.remove(k.key(id))
	if there {
		r.gone[id] = struct{}{}
	}
	return there, err
}

// applyNested keeps an entity whose id stands only inside its JSON, in the field named.
func (r *Registry) applyNested(k *kind, field string, text []byte) (bool, error) {
	if !validObject(text) {
		return false, errMalformed
	}
	var fields map[string]json.RawMessage
	var ref jsonID
	if json.Unmarshal(text, &fields) != nil || json.Unmarshal(fields[field], &ref) != nil {
		return false, errMalformed
	}
	id, ok := proto.ParseUUID(ref.ID)
	if !ok {
		return false, errMalformed
	}
	if k == ruleChainMetadata {
		if r.has(k.key(id)) && emptyList(fields["nodes"]) {
			return true, nil // a real edge goes on with the nodes that it has (rules/RULES.md 1.3)
		}
		r.keepFormer(id, text)
	}
	if err := r.put(k.key(id), text); err != nil {
		return false, err
	}
	return true, nil
}

func emptyList(text json.RawMessage) bool {
	var list []json.RawMessage
	return json.Unmarshal(text, &list) == nil && len(list) == 0
}

// resourceBulk is the word in registry.keep that keeps a resource: JavaScript modules are part of
// widgets.
func resourceBulk(text []byte) string {
	var j struct {
		Type string `json:"resourceType"`
	}
	if decode(text, &j) && j.Type == "JS_MODULE" {
		return "widgets"
	}
	return "images"
}

func (r *Registry) applyResource(c *change) (bool, error) {
	if !c.deleted {
		if !r.keeps(resourceBulk([]byte(c.text))) {
			return false, nil
		}
		c.kind = &kind{letter: resources.letter, part: resources.part}
	}
	return r.applyEntity(c)
}

func (r *Registry) applyAsset(c *change) (bool, error) {
	isNew := !c.deleted && !r.has(c.kind.key(c.id))
	kept, err := r.applyEntity(c)
	if kept && isNew {
		r.fresh[c.id] = struct{}{}
	}
	return kept, err
}

// applyEdge takes the configuration that comes when the edge's customer changes. A configuration of
// another edge cannot come in this session and counts as malformed.
func (r *Registry) applyEdge(c *proto.EdgeConfiguration) (bool, error) {
	if e := r.edge.config; e != nil && (e.EdgeIdMSB != c.EdgeIdMSB || e.EdgeIdLSB != c.EdgeIdLSB) {
		return false, errMalformed
	}
	err := r.setEdge(c, nil)
	if errors.Is(err, errNoEdge) {
		err = errMalformed
	}
	return true, err
}

// cascade removes what belonged to entities that are gone: their attributes, relations, alarms with
// comments, and calculated fields. Each of these kinds is looked through once, however many
// entities are gone.
func (r *Registry) cascade() (err error) {
	drop := func(key string) {
		_, e := r.remove(key)
		err = errors.Join(err, e)
	}
	for id := range r.gone {
		for scope := range scopes {
			err = errors.Join(err, r.dropAttributes(id, scope))
		}
		delete(r.fresh, id)
		r.noteTaken(id)
	}
	isGone := func(id string) bool {
		u, ok := proto.ParseUUID(id)
		_, gone := r.gone[u]
		return ok && gone
	}
	for _, key := range r.keysOf(relations) {
		if len(key) != relationKeyLen {
			continue
		}
		_, from := r.gone[proto.UUID([]byte(key[1:17]))]
		_, to := r.gone[proto.UUID([]byte(key[17:33]))]
		if from || to {
			drop(key)
		}
	}
	for _, k := range []*kind{alarms, calculatedFields} {
		for _, key := range r.keysOf(k) {
			text, _ := r.get(key)
			var j struct {
				Originator jsonID `json:"originator"`
				Entity     jsonID `json:"entityId"`
			}
			if json.Unmarshal(text, &j) == nil && (isGone(j.Originator.ID) || isGone(j.Entity.ID)) {
				drop(key)
				r.gone[proto.UUID([]byte(key[1:]))] = struct{}{} // its comments too
			}
		}
	}
	for _, key := range r.keysOf(alarmComments) {
		text, _ := r.get(key)
		var j jsonComment
		if json.Unmarshal(text, &j) == nil && isGone(j.Alarm.ID) {
			drop(key)
		}
	}
	clear(r.gone)
	return err
}
