package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// progress stands in for the queue.
type progress struct{ committed, end uint64 }

func (p *progress) Committed() wal.Position { return wal.Position{Seq: p.committed} }
func (p *progress) End() wal.Position       { return wal.Position{Seq: p.end} }

// Until the cloud knows of a change made here, what it sends is out of date, also after a restart
// and through a sync that began before.
func TestEditsHoldUntilTheCloudKnows(t *testing.T) {
	dir := t.TempDir()
	q := &progress{committed: 9, end: 9}
	r := open(t, dir)
	r.Follow(q)
	apply(t, r, devices(device(1, "one"), device(2, "two")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "old")))
	edit := func(e ...registry.Edit) {
		t.Helper()
		q.end += uint64(len(e))
		if err := r.Edit(q.end, e...); err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		var list []string
		for n := 1; n <= 4; n++ {
			if d, ok := r.ByID(id(n)); ok {
				list = append(list, d.Name)
			}
		}
		_, asset := r.Entity(proto.KindAsset, id(9))
		d, _ := r.ByToken("new")
		return fmt.Sprint(strings.Join(list, " "), " ", asset, " ", d.Name)
	}
	check := func(what, want string) {
		t.Helper()
		if got := names(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`},
		registry.Edit{Kind: proto.KindDevice, ID: id(2), Deleted: true},
		registry.Edit{Kind: proto.KindAsset, ID: id(9), Text: `{"name":"hall"}`},
		registry.Edit{Kind: proto.KindDeviceCredentials, ID: id(1), Text: creds(1, "ACCESS_TOKEN", "new").Entity})
	check("edited", "uno true uno")
	old := func() {
		t.Helper()
		apply(t, r, devices(device(1, "one"), device(2, "two")))
		apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "old")))
	}
	old()
	check("not known yet", "uno true uno")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	r.Follow(q)
	old()
	check("after a restart", "uno true uno")
	r.BeginSync(false, q.committed) // a sync that does not know of it
	q.committed = q.end             // while it runs, the cloud hears of it
	old()
	if n, err := r.EndSync(); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	check("after that sync", "uno true uno")
	// A sync that does, after somebody changed the name in the cloud and deleted the asset.
	r.BeginSync(false, q.committed)
	apply(t, r, devices(device(1, "eins")))
	if n, err := r.EndSync(); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	check("the cloud's word", "eins false eins")
	if keys := r.Keys("edit"); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`})
	apply(t, r, devices(gone(1)))
	check("deleted in the cloud", " false ")
	apply(t, r, devices(device(1, "one")))
	check("assigned again", "one false ")
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	r.Follow(&progress{}) // data_dir has a new queue
	apply(t, r, devices(device(1, "one")))
	check("another queue", "one false ")
	r.Close()
}

// A relation has no id, and no sync brings it. What the cloud sends of a relation that was deleted
// or changed here is out of date until the cloud knows of that, also after a restart; then it
// counts.
func TestRelationEditsHoldUntilTheCloudKnows(t *testing.T) {
	dir := t.TempDir()
	q := &progress{committed: 9, end: 9}
	r := open(t, dir)
	r.Follow(q)
	rel := func(typ, info string) string {
		return `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id(1)) +
			`"},"to":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id(2)) +
			`"},"type":"` + typ + `","typeGroup":"COMMON","additionalInfo":` + info + `}`
	}
	down := func(typ proto.UpdateMsgType, text string) {
		t.Helper()
		apply(t, r, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{MsgType: typ, Entity: text}}})
	}
	edit := func(deleted bool, text string) {
		t.Helper()
		q.end++
		if err := r.Edit(q.end, registry.Edit{Kind: proto.KindRelation, Text: text, Deleted: deleted}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, typ := range []string{"A", "B", "C"} {
			if text, ok := r.Relation([]byte(rel(typ, "null"))); ok {
				got = append(got, string(text))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	const created, deleted = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	a, b, c := rel("A", "null"), rel("B", "null"), rel("C", "null")
	down(created, a)
	down(created, b)
	edit(true, a)
	edit(false, rel("B", `{"n":1}`))
	old := func() {
		t.Helper()
		down(created, a)
		down(created, b)
	}
	old()
	check("not known yet", rel("B", `{"n":1}`))
	down(created, c)
	check("another one of the two", rel("B", `{"n":1}`), c)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	r.Follow(q)
	old()
	check("after a restart", rel("B", `{"n":1}`), c)
	r.BeginSync(false, q.committed)
	old()
	if _, err := r.EndSync(); err != nil {
		t.Fatal(err)
	}
	check("through a sync", rel("B", `{"n":1}`), c)
	q.committed = q.end
	old()
	check("known", a, b, c)
	edit(false, rel("B", `{"n":2}`))
	down(deleted, b) // which ours, on its way, makes anew there
	check("deleted in the cloud before that", a, rel("B", `{"n":2}`), c)
	q.committed = q.end
	down(deleted, b)
	check("and after it", a, c)
	r.Close()
}

// What belonged to a deleted entity is gone with it, and an older message does not bring it back
// while the cloud does not know of the deletion: no sync would take it away again (CONTRACT.md
// 3.2).
func TestNothingComesBackToWhatWasDeletedHere(t *testing.T) {
	q := &progress{committed: 9, end: 9}
	r := open(t, t.TempDir())
	defer r.Close()
	r.Follow(q)
	msb, lsb := proto.Halves(id(3))
	belongings := &proto.DownlinkMsg{
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(3, "ACCESS_TOKEN", "t")},
		AlarmUpdateMsg:             []*proto.AlarmUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"originator":` + ref("DEVICE", 3) + `}`}},
		RelationUpdateMsg: []*proto.RelationUpdateMsg{
			{Entity: `{"from":` + ref("ASSET", 1) + `,"to":` + ref("DEVICE", 3) + `,"type":"Contains","typeGroup":"COMMON"}`},
			{Entity: `{"from":` + ref("DEVICE", 3) + `,"to":` + ref("ASSET", 1) + `,"type":"Feeds","typeGroup":"COMMON"}`},
		},
		CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{{
			IdMSB: msb, IdLSB: lsb,
			Entity: `{"entityId":` + ref("DEVICE", 3) + `}`,
		}},
		EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE",
			AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{
				Key:  "k",
				Type: proto.KeyValueType_LONG_V, LongV: 1,
			}}},
		}},
	}
	check := func(what, want string) {
		t.Helper()
		if got := r.Kinds("edit"); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const all = "alarm 1, attrs 1, devcreds 1, device 1, field 1, relation 2"
	apply(t, r, devices(device(3, "d")))
	apply(t, r, belongings)
	check("before", all)
	q.end++
	if err := r.Edit(q.end, registry.Edit{Kind: proto.KindDevice, ID: id(3), Deleted: true}); err != nil {
		t.Fatal(err)
	}
	check("deleted", "")
	apply(t, r, belongings)
	apply(t, r, devices(device(3, "d")))
	check("older messages", "")
	q.committed = q.end
	apply(t, r, devices(device(3, "d"))) // somebody makes it anew, under its id
	apply(t, r, belongings)
	check("made anew", all)
}

// A change that the cloud knows need not be remembered: a link that stays up for months brings no
// sync that would forget it.
func TestEditsOfALongSessionAreBounded(t *testing.T) {
	q := &progress{}
	r := open(t, t.TempDir())
	defer r.Close()
	r.Follow(q)
	for n := range 5000 {
		q.end++
		alarm := id(100 + n)
		text := `{"originator":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id(1)) + `"},"type":"x","createdTime":1}`
		if err := r.Edit(q.end, registry.Edit{Kind: proto.KindAlarm, ID: alarm, Text: text}); err != nil {
			t.Fatal(err)
		}
		q.end++
		if err := r.Edit(q.end, registry.Edit{Kind: proto.KindAlarm, ID: alarm, Deleted: true}); err != nil {
			t.Fatal(err)
		}
		q.committed = q.end - 3
	}
	if n := len(r.Keys("edit")); n > 2000 {
		t.Errorf("%d edits are remembered of which the cloud lacks three", n)
	}
	// Those three are among them.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// In a sync without an end, and while the cloud takes nothing, the edits that are remembered stay
// within their bound. What the cloud has gives way first; the sync then removes nothing.
func TestEditsOfAnEndlessSyncAreBounded(t *testing.T) {
	q := &progress{committed: 9, end: 9}
	r := open(t, t.TempDir())
	defer r.Close()
	r.Follow(q)
	asset := func(n int) registry.Edit {
		return registry.Edit{Kind: proto.KindAsset, ID: id(n), Text: `{"name":"a"}`}
	}
	const together = 64
	comeAndGo := func(from int) error {
		var list []registry.Edit
		for n := from; n < from+together; n++ {
			list = append(list, asset(n), registry.Edit{Kind: proto.KindAsset, ID: id(n), Deleted: true})
		}
		q.end += uint64(len(list))
		return r.Edit(q.end, list...)
	}
	if err := r.Edit(q.end, asset(1)); err != nil { // made before the sync, which does not bring it
		t.Fatal(err)
	}
	r.BeginSync(true, q.committed-1)
	for n := 0; n < registry.MaxEdits*5/4; n += together {
		if err := comeAndGo(100 + n); err != nil {
			t.Fatal(n, err)
		}
		q.committed = q.end - 2*together
		if n := len(r.Keys("edit")); n > registry.MaxEdits {
			t.Fatalf("%d edits are remembered", n)
		}
	}
	if removed, err := r.EndSync(); removed != 0 || err != nil || !r.Exists("ASSET", id(1)) {
		t.Errorf("%d removed, %v", removed, err)
	}
	q.committed = q.end
	r.BeginSync(true, q.committed)
	if removed, err := r.EndSync(); removed != 1 || err != nil || len(r.Keys("edit")) != 0 {
		t.Errorf("%d removed by the next sync, %v, %d edits", removed, err, len(r.Keys("edit")))
	}
	// The cloud takes nothing.
	for n := 0; n < registry.MaxEdits; n += together {
		if err := comeAndGo(100 + n); err != nil {
			t.Fatal(n, err)
		}
	}
	if err, n := comeAndGo(50_000), len(r.Keys("edit")); err == nil || n != registry.MaxEdits {
		t.Errorf("%d edits are remembered, %v", n, err)
	}
	q.committed = q.end
	if err := comeAndGo(50_000); err != nil {
		t.Error(err)
	}
}

func TestEditRefusesWhatIsNone(t *testing.T) {
	r := open(t, t.TempDir())
	defer r.Close()
	for _, e := range []registry.Edit{
		{Kind: proto.KindDevice, ID: id(1), Text: "{"},
		{Kind: proto.KindDevice, ID: id(1), Text: "{}"},
		{Kind: proto.KindAsset, ID: id(1), Text: "[]"},
		{Kind: proto.KindRelation, Text: "{}"},
		{Kind: proto.KindUser, ID: id(1), Text: "{}"},
		{Kind: proto.KindDeviceProfile, ID: id(1), Text: "{}"},
	} {
		if r.Edit(1, e) == nil {
			t.Errorf("%v %s is taken", e.Kind, e.Text)
		}
	}
	if r.Devices() != 0 || r.Exists("ASSET", id(1)) {
		t.Error("something is stored")
	}
}
