package cloudtest

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgesync/proto"
)

// get compares the content of the tenant with a recorded answer of the server.
func (p *player) get(l tapeLine) {
	key := p.name + ":" + strconv.Itoa(l.Line)
	if unchecked[key] != "" {
		return
	}
	var r rest
	if err := json.Unmarshal(l.JSON, &r); err != nil {
		p.t.Fatal(err)
	}
	path := strings.TrimPrefix(l.Note, "rest GET ")
	ids := uuidPattern.FindAllString(path, -1)
	switch {
	case strings.HasPrefix(path, "/api/plugins/telemetry/"):
		part := strings.Split(path, "/")
		typ := typeNumbers[part[4]]
		if strings.HasPrefix(part[6], "keys") {
			return
		}
		if strings.HasPrefix(part[7], "attributes") {
			p.getAttributes(l, ref{typ, mustUUID(ids[0])}, part[8], r.Answer)
		} else {
			p.getSeries(l, ref{typ, mustUUID(ids[0])}, strings.Join(part[7:], "/"), r)
		}
	case strings.HasPrefix(path, "/api/relations?"):
		p.getRelations(l, ref{typeAsset, mustUUID(ids[0])}, r.Answer)
	case strings.HasPrefix(path, "/api/alarm/"):
		p.getAlarms(l, mustUUID(ids[0]), r.Answer)
	case strings.HasSuffix(path, "/credentials"):
		p.getCredentials(l, mustUUID(ids[0]), r.Answer)
	case path == "/api/auth/user":
		p.insert(l, r.Answer)
	case strings.HasSuffix(path, "/metadata"):
		p.getMetadata(l, mustUUID(ids[0]), r.Answer)
	default:
		p.getEntity(l, path, mustUUID(ids[0]), r)
	}
}

// sameValue reports whether a stored value equals its JSON, types included.
func sameValue(v Value, raw json.RawMessage) bool {
	switch v.Type {
	case proto.KeyValueType_BOOLEAN_V:
		return string(raw) == strconv.FormatBool(v.Bool)
	case proto.KeyValueType_LONG_V:
		return string(raw) == strconv.FormatInt(v.Long, 10)
	case proto.KeyValueType_DOUBLE_V:
		f, err := strconv.ParseFloat(string(raw), 64)
		return err == nil && f == v.Dbl && bytes.ContainsAny(raw, ".eE")
	case proto.KeyValueType_STRING_V:
		var s string
		return raw[0] == '"' && json.Unmarshal(raw, &s) == nil && s == v.Str
	}
	var a, b any
	return (raw[0] == '{' || raw[0] == '[') && json.Unmarshal(raw, &a) == nil &&
		json.Unmarshal([]byte(v.Str), &b) == nil && reflect.DeepEqual(a, b)
}

// loose are the answers whose numbers the recorder rounded to doubles and wrote without a point.
var loose = map[string]bool{"ts-types:141": true, "ts-types:153": true}

func sameNumber(v Value, raw json.RawMessage) bool {
	f, err := strconv.ParseFloat(string(raw), 64)
	switch v.Type {
	case proto.KeyValueType_LONG_V:
		return err == nil && f == float64(v.Long)
	case proto.KeyValueType_DOUBLE_V:
		return err == nil && f == v.Dbl
	}
	return false
}

func (p *player) getSeries(l tapeLine, r ref, part string, got rest) {
	if got.Status >= 400 {
		if got.Status == 404 && p.tenant.exists(r) {
			p.errorf(l, "the entity exists")
		}
		return // 500: the server cannot read the telemetry of a dashboard
	}
	var want map[string][]struct {
		TS    int64           `json:"ts"`
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(got.Answer, &want) != nil {
		return // the server refused a path with a slash in a key; another answer has all latest values
	}
	_, query, _ := strings.Cut(part, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		p.t.Fatal(err)
	}
	keys := p.tenant.Keys(r.id)
	if q.Get("keys") != "" {
		keys = strings.Split(q.Get("keys"), ",")
	}
	for key := range want {
		if !slices.Contains(keys, key) {
			p.errorf(l, "key %q is missing", key)
		}
	}
	for _, key := range keys {
		have := p.tenant.Series(r.id, key)
		slices.Reverse(have)
		if q.Get("startTs") == "" && len(have) > 1 {
			have = have[:1]
		}
		rows := want[key]
		if part == "values/timeseries?keys=twice,twice" || strings.Contains(part, "keys=twice,twice&") {
			rows = rows[:len(rows)/2] // the server answers twice for a key that is requested twice
		}
		if len(rows) != len(have) {
			p.errorf(l, "%q has %d rows, want %d", key, len(have), len(rows))
			continue
		}
		for i, w := range rows {
			if w.TS != have[i].TS || !sameValue(have[i].Value, w.Value) &&
				!(loose[p.name+":"+strconv.Itoa(l.Line)] && sameNumber(have[i].Value, w.Value)) {
				p.errorf(l, "%q: %+v, want %d %s", key, have[i], w.TS, w.Value)
			}
			p.checked++
		}
	}
}

func (p *player) getAttributes(l tapeLine, r ref, scope string, answer json.RawMessage) {
	var list []struct {
		Key   string          `json:"key"`
		TS    int64           `json:"lastUpdateTs"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		p.errorf(l, "%v", err)
		return
	}
	sc, _ := scopeOf(scope)
	rec := p.tenant.records[r]
	if rec == nil {
		p.errorf(l, "no such entity")
		return
	}
	mine := len(rec.attrs[sc].list)
	own := map[string]bool{"edgeVersion": true, "queueStartSeqId": true, "queueStartTs": true}
	for _, a := range list {
		if hiddenAttributes[a.Key] || own[a.Key] {
			continue // written by the session, not by an uplink
		}
		mine--
		v, ts, ok := p.tenant.Attribute(r.id, scope, a.Key)
		// A time from the server's own clock is near the one here; a time from the edge is the
		// same.
		if near := ts - a.TS; !ok || !sameValue(v, a.Value) || near < -3000 || near > 3000 {
			p.errorf(l, "%q is %+v at %d (%t), want %s at %d", a.Key, v, ts, ok, a.Value, a.TS)
		}
		p.checked++
	}
	if mine != 0 {
		p.errorf(l, "%d attributes too many in %v", mine, rec.attrs[sc].list)
	}
}

func (p *player) getRelations(l tapeLine, from ref, answer json.RawMessage) {
	var list []object
	if err := json.Unmarshal(answer, &list); err != nil {
		p.t.Fatal(err)
	}
	want, have := map[string]bool{}, map[string]bool{}
	for _, o := range list {
		to, _, _ := o.originator("to", "")
		want[proto.FormatUUID(to.id)+o.text("type")+o.text("typeGroup")+string(o["additionalInfo"])] = true
	}
	for _, x := range p.tenant.relations {
		if x.from == from {
			info, err := canonical([]byte(x.info))
			if err != nil {
				p.t.Fatal(err)
			}
			have[proto.FormatUUID(x.to.id)+x.name+x.group+string(info)] = true
		}
	}
	if !maps.Equal(want, have) {
		p.errorf(l, "relations %v, want %v", have, want)
	}
	p.checked++
}

func (p *player) getAlarms(l tapeLine, originator proto.UUID, answer json.RawMessage) {
	var page struct {
		Data []object `json:"data"`
	}
	if err := json.Unmarshal(answer, &page); err != nil {
		p.t.Fatal(err)
	}
	mine := 0
	for _, id := range p.tenant.order[typeAlarm] {
		if refOf(p.tenant.find(typeAlarm, id).field("originator"), typeDevice).id == originator {
			mine++
		}
	}
	if mine != len(page.Data) {
		p.errorf(l, "%d alarms, want %d", mine, len(page.Data))
	}
	for _, o := range page.Data {
		r := p.tenant.records[refOf(o["id"], typeAlarm)]
		if r == nil {
			p.errorf(l, "alarm %s is missing", o["id"])
			continue
		}
		for _, name := range []string{"severity", "status", "ackTs", "clearTs", "startTs", "endTs", "details", "acknowledged", "cleared"} {
			if !sameJSON(r.field(name), o[name]) {
				p.errorf(l, "%s is %s, want %s", name, r.field(name), o[name])
			}
		}
		p.checked++
	}
}

func (p *player) getCredentials(l tapeLine, id proto.UUID, answer json.RawMessage) {
	var o object
	if err := json.Unmarshal(answer, &o); err != nil {
		p.t.Fatal(err)
	}
	r := p.tenant.find(typeDevice, id)
	if r != nil && r.credentials == nil && p.step == "" {
		// This prepares the tenant: the device was made over REST.
		p.tenant.saveCredentials(r, o.text("credentialsType"), o.text("credentialsId"), o.text("credentialsValue"), p.base)
		r.credentials.id, r.credentials.created = refOf(o["id"], typeNone).id, o.millis("createdTime")
		return
	}
	if r == nil || r.credentials == nil {
		if o.text("credentialsId") != "" {
			p.errorf(l, "no credentials, want %s", answer)
		}
		return
	}
	c := r.credentials
	if c.typ != o.text("credentialsType") || c.key != o.text("credentialsId") || c.text != o.text("credentialsValue") ||
		strconv.FormatInt(c.version, 10) != string(o["version"]) {
		p.errorf(l, "credentials %+v, want %s", *c, answer)
	}
	p.checked++
}

func (p *player) getMetadata(l tapeLine, id proto.UUID, answer json.RawMessage) {
	var want, have struct {
		First       *int            `json:"firstNodeIndex"`
		Connections json.RawMessage `json:"connections"`
		Nodes       []struct {
			Name          string          `json:"name"`
			Type          string          `json:"type"`
			Version       int             `json:"configurationVersion"`
			Configuration json.RawMessage `json:"configuration"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(answer, &want); err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(metadataMsg(p.tenant.find(typeRuleChain, id)).Entity), &have); err != nil {
		p.errorf(l, "%v", err)
		return
	}
	for i := range want.Nodes {
		want.Nodes[i].Configuration, _ = canonical(want.Nodes[i].Configuration)
	}
	for i := range have.Nodes {
		have.Nodes[i].Configuration, _ = canonical(have.Nodes[i].Configuration)
	}
	if !reflect.DeepEqual(want, have) {
		p.errorf(l, "metadata %+v, want %+v", have, want)
	}
	p.checked++
}

var madeUpName = regexp.MustCompile(`_[A-Za-z]{15}$`)

func (p *player) getEntity(l tapeLine, path string, id proto.UUID, got rest) {
	word := strings.TrimPrefix(path[:strings.LastIndexByte(path, '/')], "/api/")
	typ, ok := map[string]entityType{
		"device": typeDevice, "asset": typeAsset, "entityView": typeEntityView, "dashboard": typeDashboard,
		"deviceProfile": typeDeviceProfile,
		"assetProfile":  typeAssetProfile, "ruleChain": typeRuleChain, "user": typeUser, "calculatedField": typeCalculatedField,
		"ai/model": typeAIModel,
	}[word]
	if !ok {
		p.errorf(l, "unknown path %s", path)
		return
	}
	r := p.tenant.find(typ, id)
	p.checked++
	if got.Status == 404 {
		if r != nil {
			p.errorf(l, "%s is there still", path)
		}
		return
	}
	if r == nil {
		p.errorf(l, "%s is not there", path)
		return
	}
	var o object
	if got.Status != 200 || json.Unmarshal(got.Answer, &o) != nil {
		return // a user without credentials cannot be read (CONTRACT.md 5.8)
	}
	name := o.text("name")
	if madeUpName.MatchString(name) {
		if !madeUpName.MatchString(r.name) || madeUpName.ReplaceAllString(name, "") != madeUpName.ReplaceAllString(r.name, "") {
			p.errorf(l, "name %q, want one like %q", r.name, name)
		}
	} else if r.name != name {
		p.errorf(l, "name %q, want %q", r.name, name)
	}
	for _, member := range []string{
		"label", "type", "title", "deviceData", "keys", "customerId", "deviceProfileId",
		"assetProfileId", "root",
	} {
		if _, has := templates[typ].index[member]; !has || o[member] == nil {
			continue
		}
		want := o[member]
		if member == "deviceProfileId" && string(r.field("type")) != `"default"` {
			continue // a profile that was created meanwhile has another id here
		}
		if !sameJSON(r.field(member), want) {
			p.errorf(l, "%s is %s, want %s", member, r.field(member), want)
		}
	}
	// The server composes additionalInfo of a user from the credentials.
	if _, has := templates[typ].index["additionalInfo"]; has && typ != typeUser &&
		!sameJSON(r.field("additionalInfo"), o["additionalInfo"]) {
		p.errorf(l, "additionalInfo is %s, want %s", r.field("additionalInfo"), o["additionalInfo"])
	}
	if _, timed := uuidTime(id); timed && r.typ != typeUser && !sameJSON(r.field("createdTime"), o["createdTime"]) {
		p.errorf(l, "createdTime is %s, want %s", r.field("createdTime"), o["createdTime"])
	}
	if v := string(o["version"]); typ == typeDevice && v != "null" && v != strconv.FormatInt(r.version, 10) {
		p.errorf(l, "version %d, want %s", r.version, v)
	}
}
