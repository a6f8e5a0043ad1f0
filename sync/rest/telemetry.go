package rest

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
	"edgesync/sync/sighting"
)

var scopes = map[string]registry.Scope{
	"CLIENT_SCOPE": registry.ClientScope, "SHARED_SCOPE": registry.SharedScope, "SERVER_SCOPE": registry.ServerScope,
}

// maxKeys bounds the keys of one request.
const maxKeys = 1024

// subject is the entity whose data a request is about.
type subject struct {
	typ string // as ThingsBoard spells it
	id  proto.UUID
}

// onEntity wraps what a path does with the data of an entity: it finds the entity that the path
// names, if the user may touch its data.
func onEntity(do func(c *call, of subject) (any, error)) func(c *call) (any, error) {
	return func(c *call) (any, error) {
		id, err := c.argID(1)
		if err != nil {
			return nil, err
		}
		of := subject{c.args[0], id}
		switch {
		case !c.admin():
			err = c.mayOn(of.typ, id)
		case !c.Registry.Here(of.typ, id):
			err = errNotFound
		}
		if err != nil {
			return nil, err
		}
		return do(c, of)
	}
}

// onDevice is onEntity for the older paths, which name a device without its type.
func onDevice(do func(c *call, of subject) (any, error)) func(c *call) (any, error) {
	return func(c *call) (any, error) {
		c.args = append([]string{"DEVICE"}, c.args...)
		return onEntity(do)(c)
	}
}

func scopeNamed(name string) (registry.Scope, error) {
	s, ok := scopes[name]
	if !ok {
		return s, bad("Invalid scope: it must be CLIENT_SCOPE, SHARED_SCOPE or SERVER_SCOPE")
	}
	return s, nil
}

// keys is a list of keys in the parameters; nil if there is none.
func (c *call) keys() ([]string, error) {
	text := c.query("keys")
	if text == "" {
		return nil, nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	seen := make(map[string]struct{}, len(list)) // a key is answered once
	list = slices.DeleteFunc(list, func(k string) bool {
		_, twice := seen[k]
		seen[k] = struct{}{}
		return k == "" || twice
	})
	if len(list) > maxKeys {
		return nil, bad("too many keys")
	}
	for _, k := range list {
		if len(utf16.Encode([]rune(k))) > 255 {
			return nil, bad("a key is longer than 255 characters")
		}
	}
	return list, nil
}

// keysToDelete is a list of keys in the parameters, of at least one.
func (c *call) keysToDelete() ([]string, error) {
	keys, err := c.keys()
	if err == nil && len(keys) == 0 {
		err = bad("Empty keys: nothing to delete")
	}
	return keys, err
}

// timed is values of one time.
type timed struct {
	ts  int64
	kvs []proto.KV
}

// parse reads the body as what a device may post: the same forms, the same conversions.
func (c *call) parse(p func(body []byte, entity proto.UUID, now int64) ([]proto.Event, error), id proto.UUID) (lists []timed, err error) {
	events, err := p(c.body, id, c.stamp)
	if err != nil {
		return nil, bad(err.Error())
	}
	for i := range events {
		var u proto.UplinkMsg
		if err := pb.Unmarshal(events[i].Fragment, &u); err != nil || len(u.EntityData) != 1 {
			return nil, errors.Join(errors.New("rest: the parser wrote something else"), err)
		}
		d := u.EntityData[0]
		if p := d.PostAttributesMsg; p != nil {
			lists = append(lists, timed{c.Clock.Now(), kvsOf(p.Kv)})
		}
		for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
			lists = append(lists, timed{l.Ts, kvsOf(l.Kv)})
		}
	}
	return lists, nil
}

func kvsOf(list []*proto.KeyValueProto) []proto.KV {
	kvs := make([]proto.KV, len(list))
	for i, m := range list {
		kvs[i] = proto.KVOf(m)
	}
	return kvs
}

// saveAttributes is POST of attributes of a scope.
func (c *call) saveAttributes(of subject) (any, error) {
	name := c.args[2]
	scope, err := scopeNamed(name)
	if err != nil {
		return nil, err
	}
	if scope == registry.ClientScope {
		return nil, bad("Invalid scope: CLIENT_SCOPE is written by the device itself")
	}
	// The server reads attributes here with its strict reader, and time series with that of
	// devices.
	lists, err := c.parse((&payload.Parser{Strict: true}).Attributes, of.id)
	if err != nil {
		return nil, err
	}
	if len(lists) == 0 {
		return nil, bad("No attributes data found in request body!")
	}
	kvs := lists[0].kvs
	c.edit.Lock()
	defer c.edit.Unlock()
	// The server takes what is newer than what it has (CONTRACT.md 7.2), and its clock may be ahead
	// of this machine's.
	ts, count := c.Clock.Now(), len(kvs)
	c.Registry.TimedAttributes(of.id, scope, nil, func(was int64, kv *proto.KV) {
		count++
		if slices.ContainsFunc(kvs, func(n proto.KV) bool { return string(n.Key) == string(kv.Key) }) {
			ts, count = max(ts, was+1), count-1
		}
	})
	if count > maxKeys {
		return nil, bad("the entity has too many attributes of this scope")
	}
	f := proto.AppendAttributesUpdated(nil, of.id, of.typ, name, ts, kvs)
	events := []proto.Event{c.event(proto.KindEntityData, proto.ActionAttributesUpdated, of.id, f)}
	if err := c.accept(events); err != nil {
		return nil, err
	}
	return nil, c.entered(events, func() error { return c.stored(c.Registry.SaveAttributes(of.id, scope, ts, kvs)) })
}

// deleteAttributes is DELETE of attributes by name.
func (c *call) deleteAttributes(of subject) (any, error) {
	scope, err := scopeNamed(c.args[2])
	if err != nil {
		return nil, err
	}
	keys, err := c.keysToDelete()
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	f := proto.AppendAttributeDelete(nil, of.id, of.typ, c.args[2], keys)
	events := []proto.Event{c.event(proto.KindEntityData, proto.ActionAttributesDeleted, of.id, f)}
	if err := c.accept(events); err != nil {
		return nil, err
	}
	return nil, c.entered(events, func() error { return c.stored(c.Registry.DeleteAttributes(of.id, scope, keys, c.Intake.End())) })
}

// asked are the scopes in the path: one, or all.
func (c *call) asked() ([]registry.Scope, error) {
	if len(c.args) < 3 {
		return []registry.Scope{registry.ClientScope, registry.SharedScope, registry.ServerScope}, nil
	}
	s, err := scopeNamed(c.args[2])
	return []registry.Scope{s}, err
}

type attribute struct {
	Updated int64           `json:"lastUpdateTs"`
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
}

func (c *call) attributes(of subject) (any, error) {
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	asked, err := c.asked()
	if err != nil {
		return nil, err
	}
	found, size := []attribute{}, 0
	for _, s := range asked {
		c.Registry.TimedAttributes(of.id, s, nil, func(ts int64, kv *proto.KV) {
			if size <= maxAnswer && (keys == nil || slices.Contains(keys, string(kv.Key))) {
				a := attribute{ts, string(kv.Key), valueJSON(kv)}
				size += len(a.Key) + len(a.Value)
				found = append(found, a)
			}
		})
	}
	if size > maxAnswer {
		return nil, errLargeAnswer
	}
	return found, nil
}

// valueJSON is the value as JSON.
func valueJSON(kv *proto.KV) json.RawMessage { return proto.AppendJSONValue(nil, kv) }

func (c *call) attributeKeys(of subject) (any, error) {
	asked, err := c.asked()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, s := range asked {
		c.Registry.TimedAttributes(of.id, s, nil, func(_ int64, kv *proto.KV) { names = append(names, string(kv.Key)) })
	}
	return names, nil
}

// point is a value of a time series in ThingsBoard's form.
type point struct {
	TS    int64           `json:"ts"`
	Value json.RawMessage `json:"value"`
}

// latest returns the newest value of each time series of an entity, of what was accepted here and
// of what the cloud sent.
func (c *call) latest(id proto.UUID) map[string]struct {
	ts int64
	kv proto.KV
} {
	all := map[string]struct {
		ts int64
		kv proto.KV
	}{}
	add := func(ts int64, kv proto.KV) {
		if was, ok := all[string(kv.Key)]; !ok || ts >= was.ts {
			all[string(kv.Key)] = struct {
				ts int64
				kv proto.KV
			}{ts, kv}
		}
	}
	c.Registry.TimedAttributes(id, registry.Latest, nil, func(ts int64, kv *proto.KV) { add(ts, *kv) })
	c.Latest.Each(id, add)
	return all
}

// timeseries is GET of the latest values. History is in the cloud.
func (c *call) timeseries(of subject) (any, error) {
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if c.query("startTs") != "" || c.query("endTs") != "" {
		return nil, bad("the edge keeps the latest values only; ask the cloud for history")
	}
	strict := c.query("useStrictDataTypes") == "true"
	all := c.latest(of.id)
	if keys == nil {
		for k := range all {
			keys = append(keys, k)
		}
	}
	out, size := make(map[string][]point, len(keys)), 0
	for _, k := range keys {
		if size > maxAnswer {
			return nil, errLargeAnswer
		}
		v, ok := all[k]
		if !ok {
			out[k] = []point{{c.Clock.Now(), json.RawMessage("null")}}
			continue
		}
		text := valueJSON(&v.kv)
		if !strict && text[0] != '"' {
			text = proto.AppendJSONString(nil, string(text)) // a text is ThingsBoard's default
		}
		out[k] = []point{{v.ts, text}}
		size += len(k) + len(text)
	}
	return out, nil
}

func (c *call) timeseriesKeys(of subject) (any, error) {
	names := []string{}
	for k := range c.latest(of.id) {
		names = append(names, k)
	}
	slices.Sort(names)
	return names, nil
}

// saveTimeseries is POST of telemetry. Scope and time to live in the path are for the server's
// database and mean nothing here.
func (c *call) saveTimeseries(of subject) (any, error) {
	lists, err := c.parse(new(payload.Parser).Telemetry, of.id)
	if err != nil {
		return nil, err
	}
	var events []proto.Event
	for _, l := range lists {
		if len(l.kvs) > 0 {
			events = append(events, c.event(proto.KindEntityData, proto.ActionTimeseriesUpdated, of.id,
				proto.AppendTelemetry(nil, of.id, of.typ, l.ts, l.kvs)))
		}
	}
	if len(events) == 0 {
		return nil, bad("No timeseries data found in request body!")
	}
	if err = c.accept(events); err != nil {
		return nil, err
	}
	if of.typ == proto.DeviceEntity {
		c.Seen.Saw(c.now, of.id, sighting.REST, 0)
	}
	return nil, c.entered(events, func() error { return nil })
}

// goneScope marks the event of deleted time series in the queue and in the dead-letter log, where
// people look at it.
const goneScope = "TIMESERIES"

// deleteTimeseries is DELETE of time series: here, of the latest values. The protocol has no
// message for it (CONTRACT.md 5.2), so the event ends in the dead-letter log, with this reason, and
// the answer carries a warning.
func (c *call) deleteTimeseries(of subject) (any, error) {
	keys, err := c.keysToDelete()
	if err != nil {
		return nil, err
	}
	var from, to int64
	everything := c.query("deleteAllDataForKeys") == "true"
	if !everything {
		var err1, err2 error
		from, err1 = strconv.ParseInt(c.query("startTs"), 10, 64)
		to, err2 = strconv.ParseInt(c.query("endTs"), 10, 64)
		if err1 != nil || err2 != nil {
			return nil, bad("When deleteAllDataForKeys is false, start and end timestamp values shouldn't be empty")
		}
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	var gone []string
	within := func(ts int64) bool { return everything || from <= ts && ts < to }
	c.Registry.TimedAttributes(of.id, registry.Latest, nil, func(ts int64, kv *proto.KV) {
		if k := string(kv.Key); within(ts) && slices.Contains(keys, k) {
			gone = append(gone, k)
		}
	})
	f := proto.AppendAttributeDelete(nil, of.id, of.typ, goneScope, keys)
	events := []proto.Event{c.event(proto.KindEntityData, proto.ActionTimeseriesDeleted, of.id, f)}
	if err := c.accept(events); err != nil {
		return nil, err
	}
	c.Latest.remove(of.id, func(key string, ts int64) bool { return within(ts) && slices.Contains(keys, key) })
	if c.from, c.to = from, to; everything {
		c.to = c.now.UnixMilli()
	}
	err = c.entered(events, func() error {
		if len(gone) == 0 {
			return nil
		}
		return c.stored(c.Registry.DeleteAttributes(of.id, registry.Latest, gone, 0))
	})
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Warning", `299 edgesync "deleted here only: the edge protocol cannot transfer it to the cloud"`)
	return nil, nil
}
