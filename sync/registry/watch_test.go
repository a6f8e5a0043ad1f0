package registry_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// slow is a witness that stays inside its first call until it may go on, and notes what it hears at
// the end of each call.
type slow struct {
	witness
	called atomic.Bool
	goOn   chan struct{}
}

func (w *slow) wait() {
	if !w.called.Swap(true) {
		<-w.goOn
	}
}

func (w *slow) DeviceChanged(d registry.Device, what registry.Change) {
	w.wait()
	w.witness.DeviceChanged(d, what)
}

func (w *slow) SharedAttributes(id proto.UUID, set []proto.KV, deleted []string) {
	w.wait()
	w.witness.SharedAttributes(id, set, deleted)
}

func setFan(t *testing.T, r *registry.Registry, v int64) {
	t.Helper()
	if err := r.SaveAttributes(id(1), registry.SharedScope, v,
		[]proto.KV{{Key: []byte("fan"), Type: proto.KeyValueType_LONG_V, Long: v}}); err != nil {
		t.Error(err)
	}
}

// A watcher hears of changes in the order in which they were stored, whoever makes them, and
// however long it takes to hear of one.
func TestChangesAreHeardInTheirOrder(t *testing.T) {
	named := func(n int, name string) *proto.DownlinkMsg { return devices(device(n, name)) }
	profile := func(name string) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
			IdMSB: 5, IdLSB: 5,
			Entity: `{"name":"` + name + `"}`,
		}}}
	}
	inProfile := device(1, "a")
	inProfile.Entity = strings.Replace(inProfile.Entity, `"type"`,
		`"deviceProfileId":{"id":"`+proto.FormatUUID(proto.UUIDOf(5, 5))+`"},"type"`, 1)
	down := func(m *proto.DownlinkMsg) func(t *testing.T, r *registry.Registry) {
		return func(t *testing.T, r *registry.Registry) { apply(t, r, m) }
	}
	fan := func(v int64) func(t *testing.T, r *registry.Registry) {
		return func(t *testing.T, r *registry.Registry) { setFan(t, r, v) }
	}
	unsetHere := func(t *testing.T, r *registry.Registry) {
		if err := r.DeleteAttributes(id(1), registry.SharedScope, []string{"fan"}, 1); err != nil {
			t.Error(err)
		}
	}
	edit := func(e registry.Edit) func(t *testing.T, r *registry.Registry) {
		return func(t *testing.T, r *registry.Registry) {
			if err := r.Edit(1, e); err != nil {
				t.Error(err)
			}
		}
	}
	for name, c := range map[string]struct {
		first func(t *testing.T, r *registry.Registry)
		then  []func(t *testing.T, r *registry.Registry)
		want  string
	}{
		"attributes": {
			fan(1),
			[]func(*testing.T, *registry.Registry){fan(2), fan(3), unsetHere, fan(4)},
			"1: fan=1 -; 1: fan=2 -; 1: fan=3 -; 1: -fan; 1: fan=4 -",
		},
		"attributes of the cloud": {
			down(attrs(1, "SHARED_SCOPE", 1, long("fan", 1))),
			[]func(*testing.T, *registry.Registry){
				down(attrs(1, "SHARED_SCOPE", 2, long("fan", 2))),
				down(unset(1, "SHARED_SCOPE", "fan")),
			},
			"1: fan=1 -; 1: fan=2 -; 1: -fan",
		},
		"credentials": {
			down(tokens(creds(1, "ACCESS_TOKEN", "t2"))),
			[]func(*testing.T, *registry.Registry){down(named(1, "b")), down(tokens(creds(2, "ACCESS_TOKEN", "t2")))},
			"a 4; b 2; b 4; e 4",
		},
		"names": {down(named(1, "b")), []func(*testing.T, *registry.Registry){
			down(named(1, "c")),
			edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: device(1, "d").Entity}),
		}, "b 2; c 2; d 2"},
		"profiles": {down(devices(inProfile)), []func(*testing.T, *registry.Registry){
			down(profile("p")),
			down(profile("q")), down(named(1, "z")),
		}, "a 16; a 16; z 18"},
		"deletions": {
			down(devices(gone(1))),
			[]func(*testing.T, *registry.Registry){
				down(named(1, "again")),
				edit(registry.Edit{Kind: proto.KindDevice, ID: id(2), Deleted: true}),
			},
			"a 32; again 1; e 32",
		},
		"a sync": {down(named(3, "new")), []func(*testing.T, *registry.Registry){func(t *testing.T, r *registry.Registry) {
			r.BeginSync(false, 0)
			apply(t, r, devices(device(2, "f"), device(3, "new")))
			if n, err := r.EndSync(); n != 1 || err != nil {
				t.Errorf("removed %d, %v", n, err)
			}
		}, down(named(3, "newer"))}, "new 1; f 2; a 32; newer 2"},
		"another edge": {down(named(2, "f")), []func(*testing.T, *registry.Registry){
			down(devices(gone(1))),
			func(t *testing.T, r *registry.Registry) {
				if err := r.SetEdge(&proto.EdgeConfiguration{EdgeIdMSB: 2, Name: "two"}); err != nil {
					t.Error(err)
				}
			},
		}, "f 2; a 32; f 32"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, t.TempDir())
				if err := r.SetEdge(&proto.EdgeConfiguration{EdgeIdMSB: 1, Name: "one"}); err != nil {
					t.Fatal(err)
				}
				apply(t, r, devices(device(1, "a"), device(2, "e")))
				apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1")))
				w := &slow{goOn: make(chan struct{})}
				r.Watch(w)
				var writers sync.WaitGroup
				writers.Go(func() { c.first(t, r) })
				synctest.Wait() // the first is stored, and the watcher is inside its call
				writers.Go(func() {
					for _, change := range c.then {
						change(t, r)
					}
				})
				synctest.Wait()
				close(w.goOn)
				writers.Wait()
				if got := w.since(); got != c.want {
					t.Errorf("heard %q, want %q", got, c.want)
				}
			})
		})
	}
}

// A device ends with the value that is stored, however the writers meet.
func TestTheLastHeardIsWhatIsStored(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a")))
	w := &witness{}
	r.Watch(w)
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for k := range 50 {
				if i == 0 {
					apply(t, r, attrs(1, "SHARED_SCOPE", 0, long("fan", int64(k))))
				} else {
					setFan(t, r, 0)
				}
			}
		})
	}
	writers.Wait()
	heard := strings.Split(w.since(), "; ")
	if last := "1: " + values(r, id(1), registry.SharedScope) + " -"; len(heard) != 200 || heard[199] != last {
		t.Errorf("heard %d, the last %q; stored %q", len(heard), heard[len(heard)-1], last)
	}
}

// While the watcher is inside a call other writers go on, until what it has not heard takes 1 MiB.
// Then writers of changes that it would hear wait; other changes never wait.
func TestWritersWaitForAWatcherThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, t.TempDir())
		apply(t, r, devices(device(1, "a"), device(2, "b")))
		w := &slow{goOn: make(chan struct{})}
		r.Watch(w)
		var writers sync.WaitGroup
		writers.Go(func() { setFan(t, r, 0) })
		synctest.Wait()
		const values = 40
		var stored atomic.Int64
		writers.Go(func() {
			long := strings.Repeat("x", 100<<10)
			for i := range values {
				kv := proto.KV{Key: []byte("long"), Type: proto.KeyValueType_STRING_V, Str: []byte(long)}
				if err := r.SaveAttributes(id(2), registry.SharedScope, int64(i), []proto.KV{kv}); err != nil {
					t.Error(err)
				}
				stored.Add(1)
			}
		})
		synctest.Wait()
		if n := stored.Load(); n != 11 {
			t.Errorf("%d values of 100 KiB were stored while the watcher hung", n)
		}
		kept := &proto.DeviceRpcCallMsg{RequestUuidMSB: 1}
		if err := r.KeepCall(kept); err != nil {
			t.Error(err)
		}
		if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", 1)}}); err != nil {
			t.Error(err)
		}
		if _, _, err := r.Prepare(&proto.NewDevice{Name: "c"}, time.Now()); err != nil {
			t.Error(err)
		}
		if err := r.Flush(); err != nil {
			t.Error(err)
		}
		close(w.goOn)
		writers.Wait()
		if heard := strings.Split(w.since(), "; "); stored.Load() != values || len(heard) != 1+values || heard[0] != "1: fan=0 -" {
			t.Errorf("stored %d, heard %d, the first %q", stored.Load(), len(heard), heard[0])
		}
	})
}

// caller is a watcher that calls the registry back from inside each call.
type caller struct {
	witness
	r *registry.Registry
}

func (w *caller) DeviceChanged(d registry.Device, what registry.Change) {
	w.witness.DeviceChanged(d, what)
	w.call(d.ID)
}

func (w *caller) SharedAttributes(device proto.UUID, set []proto.KV, deleted []string) {
	w.witness.SharedAttributes(device, set, deleted)
	w.call(device)
}

func (w *caller) call(device proto.UUID) {
	w.r.ByID(device)
	w.r.ByToken("t1")
	w.r.Each(func(registry.Device) bool { return true })
	w.r.Entities(proto.KindDevice, func(proto.UUID, []byte) bool { return true })
	w.r.Relations(device, true, func([]byte) {})
	w.r.UserNamed("somebody@example.org")
	w.r.Here("CUSTOMER", device)
	w.r.Attributes(device, registry.SharedScope, nil, func(*proto.KV) {})
	c := &proto.DeviceRpcCallMsg{RequestUuidMSB: 1}
	_ = w.r.KeepCall(c)
	_ = w.r.DropCall(c)
	_ = w.r.Posted(device, "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", 1)}})
	_ = w.r.Flush()
}

// A watcher that calls the registry from inside its calls holds up nobody, itself included. A
// change that it makes itself is heard after that call.
func TestAWatcherMayCallTheRegistry(t *testing.T) {
	r := open(t, t.TempDir())
	w := &caller{r: r}
	r.Watch(w)
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	var writers sync.WaitGroup
	for n := range 2 {
		writers.Go(func() {
			for k := range 20 {
				apply(t, r, attrs(1+n, "SHARED_SCOPE", int64(k), long("fan", int64(k))))
				apply(t, r, tokens(creds(1+n, "ACCESS_TOKEN", "t1")))
			}
		})
	}
	writers.Wait()
	w.since()
	r.Watch(changer{r, &w.witness})
	apply(t, r, attrs(1, "SHARED_SCOPE", 100, long("fan", 100)))
	if got := w.since(); got != "1: fan=100 -; 1: -fan" {
		t.Errorf("heard %q", got)
	}
}

// changer deletes an attribute as soon as it hears of its value.
type changer struct {
	r *registry.Registry
	*witness
}

func (w changer) SharedAttributes(device proto.UUID, set []proto.KV, deleted []string) {
	if len(set) > 0 {
		_ = w.r.DeleteAttributes(device, registry.SharedScope, []string{string(set[0].Key)}, 1)
	}
	w.witness.SharedAttributes(device, set, deleted)
}

// What a watcher hears is a copy: the writer may use its buffers again.
func TestWhatIsHeardIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, t.TempDir())
		apply(t, r, devices(device(1, "a")))
		w := &slow{goOn: make(chan struct{})}
		r.Watch(w)
		var writers sync.WaitGroup
		writers.Go(func() { setFan(t, r, 0) })
		synctest.Wait()
		key, value := []byte("key"), []byte("value")
		if err := r.SaveAttributes(id(1), registry.SharedScope, 1,
			[]proto.KV{{Key: key, Type: proto.KeyValueType_STRING_V, Str: value}}); err != nil {
			t.Fatal(err)
		}
		copy(key, "xxx")
		copy(value, "xxxxx")
		close(w.goOn)
		writers.Wait()
		if got := w.since(); got != `1: fan=0 -; 1: key="value" -` {
			t.Errorf("heard %q", got)
		}
	})
}

// A watcher that panics does not keep others from being heard.
func TestAWatcherThatPanics(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a")))
	r.Watch(panicker{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not arrive")
			}
		}()
		setFan(t, r, 1)
	}()
	w := new(witness)
	r.Watch(w)
	setFan(t, r, 2)
	if got := w.since(); got != "1: fan=2 -" {
		t.Errorf("heard %q", got)
	}
}

type panicker struct{ registry.Watcher }

// witness notes what a watcher hears.
type witness struct {
	mu    sync.Mutex
	heard []string
}

func (w *witness) DeviceChanged(d registry.Device, what registry.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, fmt.Sprintf("%s %d", d.Name, what))
}

func (w *witness) SharedAttributes(id proto.UUID, set []proto.KV, deleted []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf("%d:", id[15])
	for i := range set {
		text += string(proto.AppendJSONValue([]byte(" "+string(set[i].Key)+"="), &set[i]))
	}
	w.heard = append(w.heard, text+" -"+strings.Join(deleted, ","))
}

// since returns and forgets what was heard.
func (w *witness) since() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.heard, "; ")
	w.heard = nil
	return s
}

// A watcher hears of every change once, and of nothing in a sync that brings nothing new.
func TestWatcher(t *testing.T) {
	r := open(t, t.TempDir())
	w := &witness{}
	r.Watch(w)
	heard := func(want string) {
		t.Helper()
		if got := w.since(); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	both := func(n int, name, token string) *proto.DownlinkMsg {
		m := devices(device(n, name))
		m.DeviceCredentialsUpdateMsg = tokens(creds(n, "ACCESS_TOKEN", token)).DeviceCredentialsUpdateMsg
		return m
	}
	apply(t, r, both(1, "a", "t1"))
	heard("a 1; a 4")
	r.BeginSync(false, 0)
	apply(t, r, both(1, "a", "t1"))
	r.EndSync()
	heard("")
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t2")))
	heard("a 4")
	apply(t, r, both(1, "b", "t2"))
	heard("b 2")
	plain := device(1, "b")
	plain.Entity = strings.Replace(plain.Entity, `"gateway":true`, `"gateway":false`, 1)
	apply(t, r, devices(plain))
	heard("b 8")
	profile := func(name string) *proto.DeviceProfileUpdateMsg {
		return &proto.DeviceProfileUpdateMsg{IdMSB: 5, IdLSB: 5, Entity: `{"name":"` + name + `"}`}
	}
	moved := device(1, "b")
	moved.Entity = strings.Replace(plain.Entity, `"type"`, `"deviceProfileId":{"id":"`+proto.FormatUUID(proto.UUIDOf(5, 5))+`"},"type"`, 1)
	apply(t, r, devices(moved))
	heard("b 16")
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{profile("p")}})
	heard("")
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{profile("q")}})
	heard("b 16")
	apply(t, r, both(2, "c", "t2")) // takes the token
	heard("c 1; b 4; c 4")
	apply(t, r, devices(gone(1), gone(7)))
	heard("b 32")
	r.BeginSync(false, 0)
	r.EndSync()
	heard("c 32")
}
