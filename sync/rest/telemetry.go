package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
)

var scopes = map[string]registry.Scope{
	"CLIENT_SCOPE": registry.ClientScope, "SHARED_SCOPE": registry.SharedScope, "SERVER_SCOPE": registry.ServerScope,
}

// maxKeys bounds the keys of one request.
const maxKeys = 1024

// target is the entity in the path, whose data the user may touch.
func (c *call) target() (typ string, id proto.UUID, err error) {
	typ = c.args[0]
	if id, err = c.argID(1); err != nil {
		return typ, id, err
	}
	if c.admin() {
		if !c.Registry.Here(typ, id) {
			return typ, id, errNotFound
		}
		return typ, id, nil
	}
	return typ, id, c.mayOn(typ, id)
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
	list = slices.DeleteFunc(list, func(k string) bool { return k == "" })
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
func (c *call) saveAttributes() (any, error) {
	typ, id, err := c.target()
	if err != nil {
		return nil, err
	}
	return c.saveScope(typ, id, c.args[2])
}

// saveDeviceAttributes is the older path, for devices only.
func (c *call) saveDeviceAttributes() (any, error) {
	c.args = []string{"DEVICE", c.args[0], c.args[1]}
	return c.saveAttributes()
}

func (c *call) saveScope(typ string, id proto.UUID, name string) (any, error) {
	scope, err := scopeNamed(name)
	if err != nil {
		return nil, err
	}
	if scope == registry.ClientScope {
		return nil, bad("Invalid scope: CLIENT_SCOPE is written by the device itself")
	}
	lists, err := c.parse(new(payload.Parser).Attributes, id)
	if err != nil {
		return nil, err
	}
	if len(lists) == 0 {
		return nil, bad("No attributes data found in request body!")
	}
	kvs := lists[0].kvs
	c.edit.Lock()
	defer c.edit.Unlock()
	// The server takes what is newer than what it has (wire contract 7.2), and its clock may be ahead of ours.
	ts, count := c.Clock.Now(), len(kvs)
	c.Registry.Timed(id, scope, func(was int64, kv *proto.KV) {
		count++
		if slices.ContainsFunc(kvs, func(n proto.KV) bool { return string(n.Key) == string(kv.Key) }) {
			ts, count = max(ts, was+1), count-1
		}
	})
	if count > maxKeys {
		return nil, bad("the entity has too many attributes of this scope")
	}
	f := proto.AppendAttributesUpdated(nil, id, typ, name, ts, kvs)
	if err := c.accept([]proto.Event{c.event(proto.KindEntityData, proto.ActionAttributesUpdated, id, f)}); err != nil {
		return nil, err
	}
	return nil, c.stored(c.Registry.SaveAttributes(id, scope, ts, kvs))
}

// stored turns a failure to store what is in the queue already into an answer.
func (c *call) stored(err error) error {
	if err == nil {
		return nil
	}
	c.Log.Warn("a change made by REST is in the queue and cannot be stored here", "error", err)
	return &failure{http.StatusInternalServerError, codeGeneral, wordsNotHere}
}

// deleteAttributes is DELETE of attributes by name.
func (c *call) deleteAttributes() (any, error) {
	typ, id, err := c.target()
	if err != nil {
		return nil, err
	}
	scope, err := scopeNamed(c.args[2])
	if err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, bad("Empty keys: nothing to delete")
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	f := proto.AppendAttributeDelete(nil, id, typ, c.args[2], keys)
	if err := c.accept([]proto.Event{c.event(proto.KindEntityData, proto.ActionAttributesDeleted, id, f)}); err != nil {
		return nil, err
	}
	return nil, c.stored(c.Registry.DeleteAttributes(id, scope, keys, c.Intake.End()))
}

func (c *call) deleteDeviceAttributes() (any, error) {
	c.args = []string{"DEVICE", c.args[0], c.args[1]}
	return c.deleteAttributes()
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

func (c *call) attributes() (any, error) {
	_, id, err := c.target()
	if err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	asked, err := c.asked()
	if err != nil {
		return nil, err
	}
	found := []attribute{}
	for _, s := range asked {
		c.Registry.Timed(id, s, func(ts int64, kv *proto.KV) {
			if keys == nil || slices.Contains(keys, string(kv.Key)) {
				found = append(found, attribute{ts, string(kv.Key), valueJSON(kv)})
			}
		})
	}
	return found, nil
}

// valueJSON is the value as JSON.
func valueJSON(kv *proto.KV) json.RawMessage { return proto.AppendJSONValue(nil, kv) }

func (c *call) attributeKeys() (any, error) {
	_, id, err := c.target()
	if err != nil {
		return nil, err
	}
	asked, err := c.asked()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, s := range asked {
		c.Registry.Timed(id, s, func(_ int64, kv *proto.KV) { names = append(names, string(kv.Key)) })
	}
	return names, nil
}

// point is a value of a time series in ThingsBoard's form.
type point struct {
	TS    int64           `json:"ts"`
	Value json.RawMessage `json:"value"`
}

// latest are the latest values of an entity, of what was accepted here and of what the cloud sent the newer.
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
	c.Registry.Timed(id, registry.Latest, func(ts int64, kv *proto.KV) { add(ts, *kv) })
	c.Latest.each(id, add)
	return all
}

// timeseries is GET of the latest values. History is in the cloud.
func (c *call) timeseries() (any, error) {
	_, id, err := c.target()
	if err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if c.query("startTs") != "" || c.query("endTs") != "" {
		return nil, bad("the edge keeps the latest values only; ask the cloud for history")
	}
	strict := c.query("useStrictDataTypes") == "true"
	all := c.latest(id)
	if keys == nil {
		for k := range all {
			keys = append(keys, k)
		}
	}
	out := make(map[string][]point, len(keys))
	for _, k := range keys {
		v, ok := all[k]
		if !ok {
			out[k] = []point{{c.Clock.Now(), json.RawMessage("null")}}
			continue
		}
		text := valueJSON(&v.kv)
		if !strict && text[0] != '"' {
			text = proto.AppendJSONString(nil, string(text)) // as text, which is ThingsBoard's default
		}
		out[k] = []point{{v.ts, text}}
	}
	return out, nil
}

func (c *call) timeseriesKeys() (any, error) {
	_, id, err := c.target()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for k := range c.latest(id) {
		names = append(names, k)
	}
	slices.Sort(names)
	return names, nil
}

// saveTimeseries is POST of telemetry. Scope and time to live of the path are for the server's database and of no meaning here.
func (c *call) saveTimeseries() (any, error) {
	typ, id, err := c.target()
	if err != nil {
		return nil, err
	}
	lists, err := c.parse(new(payload.Parser).Telemetry, id)
	if err != nil {
		return nil, err
	}
	var events []proto.Event
	for _, l := range lists {
		if len(l.kvs) > 0 {
			events = append(events, c.event(proto.KindEntityData, proto.ActionTimeseriesUpdated, id, proto.AppendTelemetry(nil, id, typ, l.ts, l.kvs)))
		}
	}
	if len(events) == 0 {
		return nil, bad("No timeseries data found in request body!")
	}
	return nil, c.accept(events)
}

// goneScope marks the record of deleted time series in the queue and in the dead-letter log, where people look at it.
const goneScope = "TIMESERIES"

// deleteTimeseries is DELETE of time series: of the latest values here. The protocol has no message for it (wire contract 5.2), so the event is recorded and
// ends in the dead-letter log, which says so, and the answer says so too.
func (c *call) deleteTimeseries() (any, error) {
	typ, id, err := c.target()
	if err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, bad("Empty keys: nothing to delete")
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
	c.Registry.Timed(id, registry.Latest, func(ts int64, kv *proto.KV) {
		if k := string(kv.Key); within(ts) && slices.Contains(keys, k) {
			gone = append(gone, k)
		}
	})
	f := proto.AppendAttributeDelete(nil, id, typ, goneScope, keys)
	if err := c.accept([]proto.Event{c.event(proto.KindEntityData, proto.ActionTimeseriesDeleted, id, f)}); err != nil {
		return nil, err
	}
	c.Latest.remove(id, func(key string, ts int64) bool { return within(ts) && slices.Contains(keys, key) })
	if len(gone) > 0 {
		if err := c.stored(c.Registry.DeleteAttributes(id, registry.Latest, gone, 0)); err != nil {
			return nil, err
		}
	}
	c.w.Header().Set("Warning", `299 edgesync "deleted here only: the edge protocol cannot transfer it to the cloud"`)
	return nil, nil
}
