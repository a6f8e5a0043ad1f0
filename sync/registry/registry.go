package registry

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"edgesync/proto"
	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// Bounds. What goes beyond them is acknowledged, counted and not kept.
const (
	maxRecords = 65536    // records of all kinds
	maxDevices = 15000    // which are in memory, in a first sync with 850 bytes each
	maxLive    = 64 << 20 // bytes of them, where that much is free: room.go
	maxStaged  = 1 << 20  // bytes that wait for Flush; more are flushed at once
	maxFlush   = 3 << 20  // bytes that begin a further batch; with one entity more it stays below store.MaxBatch
	maxEntity  = 4 << 20  // bytes of one entity's JSON: what fits into a message (CONTRACT.md 2.5)
	maxParsed  = 1 << 20  // the same of kinds whose JSON is taken apart, which takes three times as much
	maxUser    = 64 << 10 // the same of users
	maxDepth   = 64       // nesting of JSON
	maxToken   = 512      // bytes of an access token, or another id of credentials, that can be used
	maxName    = 1 << 10  // bytes of a name or a label; ThingsBoard takes 255 characters
	maxTexts   = 4 << 20  // bytes of the names, labels and types of all devices, which are in memory
	maxGone    = 4096     // entities that went during a sync, before what belonged to them is removed
)

// Options of a registry.
type Options struct {
	Dir        string   // of its store
	CorruptDir string   // where damaged bytes are kept
	Keep       []string // bulky kinds to keep: "widgets", "images", "ota"
	MaxBytes   int64    // bound of all records; 0: an eighth of what is free, 2 MiB to 64 MiB
	MaxMessage int      // the largest message of the cloud, in bytes: the binary in it has room
	Log        *slog.Logger
	Meter      disk.Meter // of what is written
	// End is the Seq of the end of the queue. Creations behind it were in another queue, which is
	// gone, and are pending again; nil: nobody asks.
	End func() uint64
}

// Registry is what the cloud has provisioned. The package comment says who may call what.
type Registry struct {
	o     Options
	store *store.Store
	log   *slog.Logger
	key   [32]byte // of digests, of this process

	// write is held by whoever changes something; it is taken before mu. The fields below belong to
	// its holder.
	write      sync.Mutex
	watcher    Watcher
	notices    []notice                 // of the change that is being made
	roll       *roll                    // what the running sync is to bring; nil when none runs
	fullSync   bool                     // the running sync is a full one
	awaits     func(id proto.UUID) bool // see Awaits; nil: nobody waits
	committed  uint64                   // Seq that the cloud had acknowledged when it began
	gone       map[proto.UUID]struct{}
	taken      map[proto.UUID]struct{} // entities that the cloud has taken away, see TakenAway; guarded by mu
	fresh      map[proto.UUID]struct{} // devices and assets that the cloud has not been asked about yet
	creations  map[proto.UUID]creation
	edits      map[recordID]edit // see edits.go
	editsAt    int               // number of edits at which those that the cloud has are forgotten
	queue      Progress          // that holds their events; nil: not named yet
	warnedFull bool
	room       room

	unheard unheard

	mu          sync.RWMutex      // guards what follows; only the holder of write changes it
	staged      map[string][]byte // by key; nil deletes
	stagedBytes int
	further     map[string][]string // by the key of the first: keys of the further records of attributes, sorted
	devices     map[proto.UUID]*entry
	texts       int               // bytes of their names, labels and types
	credentials map[digest]*entry // by the id of their credentials
	names       map[string]*entry
	shadowed    bool                    // a name had two devices for a while, because renames come one by one
	assigned    map[proto.UUID]assigned // of devices and profiles that name packages
	profiles    map[proto.UUID]*profile
	edge        edgeState
	counts      map[string]*Count
	hear        func(what Heard, id proto.UUID) // of rule chains and alarms: chains.go
}

// digest is a keyed hash of something secret.
type digest = [16]byte

// entry is a device with what only the registry knows of it.
type entry struct {
	Device
	credentialsID digest
	indexed       bool   // credentialsID is in the index
	alias         string // the name it was made with here, if the server gave it another
}

// Device is what a door needs of a device.
type Device struct {
	ID          proto.UUID
	Name        string
	Type        string // name of its profile
	Label       string
	ProfileID   proto.UUID
	CustomerID  proto.UUID // proto.NullUUID: none
	Gateway     bool       // speaks for other devices (API.md 4.3)
	Credentials CredentialsType
	LastGateway proto.UUID // additionalInfo.lastConnectedGateway; zero: none
	WasNamed    string     // with DeviceRenamed: the name before; "" if that one still holds
}

// CredentialsType is how a device proves who it is.
type CredentialsType uint8

// The types of credentials (CONTRACT.md 6.4).
const (
	NoCredentials CredentialsType = iota
	AccessToken
	MQTTBasic
	X509Certificate
)

// Count is what became of one part of the DownlinkMsgs, in the life of this process. The rest of
// what was received was acknowledged and not kept: it is not for this edge, was never here, or is
// of a kind that registry.keep leaves out.
type Count struct {
	Part      string // its name in DownlinkMsg
	Received  uint64
	Kept      uint64 // understood and stored, or stored already, or removed
	Malformed uint64 // not decodable, or beyond a bound
}

// Open opens the registry in o.Dir and makes it ready for lookups. Damaged content is left out and
// is never an error: the next sync brings it again.
func Open(o Options) (*Registry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := store.Open(store.Options{Path: filepath.Join(o.Dir, "store"), CorruptDir: o.CorruptDir, Log: o.Log, Meter: o.Meter})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{
		o: o, store: s, log: o.Log, staged: make(map[string][]byte), counts: make(map[string]*Count),
		devices: make(map[proto.UUID]*entry), credentials: make(map[digest]*entry), names: make(map[string]*entry),
		profiles: make(map[proto.UUID]*profile), creations: make(map[proto.UUID]creation), edits: make(map[recordID]edit),
		gone: make(map[proto.UUID]struct{}), fresh: make(map[proto.UUID]struct{}), further: make(map[string][]string),
		assigned: make(map[proto.UUID]assigned),
	}
	r.unheard.room.L = &r.unheard.mu
	rand.Read(r.key[:])
	if r.room.most = o.MaxBytes; o.MaxBytes == 0 {
		r.room.most = shareOf(freeFor(o.Dir))
	}
	if err := r.finishWipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("registry: finish the change to another edge: %w", err), s.Close())
	}
	r.countStored()
	r.load()
	return r, nil
}

// load fills memory from the store.
func (r *Registry) load() {
	r.loadEdge()
	each := func(k *kind, fn func(id proto.UUID, value []byte)) {
		for _, key := range r.store.Keys(string(k.letter)) {
			if value, ok := r.get(key); ok && len(key) == keyLen {
				fn(proto.UUID([]byte(key[1:])), value)
			}
		}
	}
	each(creations, func(id proto.UUID, value []byte) {
		if b, ok := decodeCreation(value); ok {
			// Those without a place in the queue have been refused, and are dead letters.
			if r.o.End != nil && !b.known && b.seq != math.MaxUint64 && b.seq > r.o.End() {
				b.queued = false
			}
			r.creations[id] = b
		}
	})
	each(deviceProfiles, func(id proto.UUID, value []byte) {
		if p, ok := r.decodeProfile(id, value); ok {
			r.profiles[id] = p
			r.noteAssigned(id, assignedIn(value))
		}
	})
	each(devices, func(id proto.UUID, value []byte) {
		// A pending creation must not be found: its data would be in the cloud before it.
		if b, ok := r.creations[id]; ok && !b.queued {
			return
		}
		if d, ok := decodeDevice(value); ok {
			r.putDevice(id, d)
			r.noteAssigned(id, assignedIn(value))
		}
	})
	each(deviceCredentials, func(id proto.UUID, value []byte) {
		if c, ok := decodeCredentials(value); ok {
			r.index(id, c) // no token moves: of two devices with one, only the last has kept its record
		}
	})
	r.dropUnkept()
	r.loadOTA()
}

// dropUnkept removes what an earlier configuration kept of bulky kinds.
func (r *Registry) dropUnkept() {
	for _, k := range []*kind{widgetsBundles, widgetTypes, otaPackages, resources} {
		for _, key := range r.keysOf(k) {
			text, _ := r.get(key)
			if k == resources && r.keeps(resourceBulk(text)) || k != resources && r.keeps(k.keep) {
				continue
			}
			if _, err := r.remove(key); err != nil {
				r.log.Warn("the registry cannot be written", "error", err)
				return
			}
		}
	}
}

// Flush makes everything staged durable with one fsync. After an error everything is still staged,
// and the next Flush tries again.
func (r *Registry) Flush() error {
	r.write.Lock()
	defer r.unlock()
	return r.flush()
}

// Hold calls fn while nothing is written to the registry's files. Whoever changes something waits
// for it, so fn is quick. fn must not change the registry.
func (r *Registry) Hold(fn func()) {
	r.write.Lock()
	defer r.unlock()
	fn()
}

// Close flushes and releases the store.
func (r *Registry) Close() error {
	r.write.Lock()
	defer r.unlock()
	return errors.Join(r.flush(), r.store.Close())
}

// Counts lists what came down, by part and sorted by its name. Any goroutine.
func (r *Registry) Counts() []Count {
	r.mu.RLock()
	defer r.mu.RUnlock()
	parts := make([]string, 0, len(r.counts))
	for part := range r.counts {
		parts = append(parts, part)
	}
	slices.Sort(parts)
	list := make([]Count, 0, len(parts))
	for _, part := range parts {
		list = append(list, *r.counts[part])
	}
	return list
}

// keeps reports whether registry.keep names a bulky kind.
func (r *Registry) keeps(bulky string) bool { return bulky == "" || slices.Contains(r.o.Keep, bulky) }
