package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"edgesync/proto"
	"edgesync/wal"
)

// Bounds. What goes beyond them is acknowledged, counted and not kept.
const (
	maxRecords = 65536     // records of all kinds
	maxLive    = 64 << 20  // bytes of them
	maxStaged  = 1 << 20   // bytes that wait for Flush; more are flushed at once
	maxFlush   = 3 << 20   // bytes that begin a further batch; with one entity more it stays below wal.MaxStoreBatch
	maxEntity  = 4 << 20   // bytes of one entity's JSON: what fits into a message (wire contract 2.5)
	maxDepth   = 64        // nesting of JSON
	maxToken   = 512       // bytes of an access token that can be used
	maxName    = 1 << 10   // bytes of a name or a label; ThingsBoard takes 255 characters
	keyLen     = 1 + 16    // of most records
	kindDevice = byte('d') // the letters of the records
	kindCreds  = byte('c')
	kindProf   = byte('p')
	keyEdge    = "E"
	keySecret  = "S"
	keySynced  = "Y"
)

// Options of a registry.
type Options struct {
	Dir        string   // of its store
	CorruptDir string   // where damaged bytes are kept
	Keep       []string // bulky kinds to keep ("widgets", "images", "ota"); none of them is stored yet
	Log        *slog.Logger
}

// Registry is what the cloud has provisioned. See the package for who may call what.
type Registry struct {
	o     Options
	store *wal.Store
	log   *slog.Logger

	// The loop's goroutine owns these.
	staged      map[string][]byte // by key; nil deletes
	stagedBytes int
	seen        map[proto.UUID]struct{} // devices met in the sync that runs; nil when none does
	seenProfile map[proto.UUID]struct{}
	warnedFull  bool

	tokenKey [32]byte // of this process

	mu       sync.RWMutex // guards what follows; the loop's goroutine alone writes
	devices  map[proto.UUID]*entry
	tokens   map[digest]*entry
	profiles map[proto.UUID]string // names
	edge     edgeState
	counts   map[string]*Count
}

// digest is a keyed hash of a token.
type digest = [sha256.Size]byte

// entry is a device with what only the registry knows of it.
type entry struct {
	Device
	token  digest
	tokens bool // token is in the index
}

// Device is what a door must know of a device.
type Device struct {
	ID          proto.UUID
	Name        string
	Type        string // name of its profile
	Label       string
	ProfileID   proto.UUID
	CustomerID  proto.UUID // proto.NullUUID: none
	Gateway     bool       // speaks for other devices (device API, MQTT gateway)
	Credentials CredentialsType
}

// CredentialsType is how a device proves who it is.
type CredentialsType uint8

// The types of credentials (wire contract 6.4).
const (
	NoCredentials CredentialsType = iota
	AccessToken
	MQTTBasic
	X509Certificate
)

// Count tells what came of one part of the DownlinkMsgs, in this life.
type Count struct {
	Part      string // its name in DownlinkMsg
	Received  uint64
	Kept      uint64 // understood and stored, or stored already
	Malformed uint64 // not decodable, or beyond a bound
}

// Open opens the registry in o.Dir and makes it ready for lookups. Damaged content is left out, never an error: the next sync brings it again.
func Open(o Options) (*Registry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := wal.OpenStore(wal.StoreOptions{Path: filepath.Join(o.Dir, "store"), CorruptDir: o.CorruptDir, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{
		o: o, store: s, log: o.Log, staged: make(map[string][]byte), counts: make(map[string]*Count),
		devices: make(map[proto.UUID]*entry), tokens: make(map[digest]*entry), profiles: make(map[proto.UUID]string),
	}
	rand.Read(r.tokenKey[:])
	r.load()
	return r, nil
}

// load fills memory from the store.
func (r *Registry) load() {
	r.loadEdge()
	for _, k := range []byte{kindProf, kindDevice, kindCreds} {
		for _, key := range r.store.Keys(string(k)) {
			value, ok := r.get(key)
			if !ok || len(key) != keyLen {
				continue
			}
			id := proto.UUID([]byte(key[1:]))
			switch k {
			case kindProf:
				if p, ok := decodeProfile(value); ok {
					r.profiles[id] = p.Name
				}
			case kindDevice:
				if d, ok := decodeDevice(value); ok {
					r.putDevice(id, d)
				}
			case kindCreds:
				if c, ok := decodeCredentials(value); ok {
					r.index(id, c) // no token moves: of two devices with one only the last keeps its record
				}
			}
		}
	}
}

// get reads a record, staged changes included. An unreadable one counts as absent.
func (r *Registry) get(key string) ([]byte, bool) {
	if v, ok := r.staged[key]; ok {
		return v, v != nil
	}
	v, ok, err := r.store.Get(key, nil)
	if err != nil {
		r.log.Warn("a registry record is unreadable; the next sync brings it again", "error", err)
	}
	return v, ok
}

// has tells whether there is a record, without reading it.
func (r *Registry) has(key string) bool {
	if v, ok := r.staged[key]; ok {
		return v != nil
	}
	return r.store.Has(key)
}

// errFull: a bound of the registry is reached.
var errFull = errors.New("registry: full")

// put stages a record unless it is stored already. errFull tells that there is no place for it.
func (r *Registry) put(key string, value []byte) error {
	if len(value) == 0 {
		value = []byte{}
	}
	old, staged := r.staged[key]
	same := staged && old != nil && string(old) == string(value)
	if !staged && r.store.ValueLen(key) == len(value) {
		stored, ok := r.get(key)
		same = ok && string(stored) == string(value)
	}
	if same {
		return nil
	}
	if st := r.store.Stats(); st.Live+int64(r.stagedBytes+len(value)) > maxLive || (!r.has(key) && st.Keys+len(r.staged) >= maxRecords) {
		if !r.warnedFull {
			r.warnedFull = true
			r.log.Warn("the registry is full; what the cloud provisions beyond is not kept", "records", st.Keys, "bytes", st.Live)
		}
		return errFull
	}
	return r.stage(key, value)
}

// remove stages the deletion of a record and tells whether there was one.
func (r *Registry) remove(key string) (bool, error) {
	if !r.has(key) {
		return false, nil
	}
	return true, r.stage(key, nil)
}

func (r *Registry) stage(key string, value []byte) error {
	if old, ok := r.staged[key]; ok {
		r.stagedBytes -= len(key) + len(old)
	}
	r.staged[key] = value
	r.stagedBytes += len(key) + len(value)
	if r.stagedBytes > maxStaged {
		return r.Flush()
	}
	return nil
}

// Flush makes everything staged durable with one fsync. After an error everything is still staged, and the next Flush tries again.
func (r *Registry) Flush() error {
	if len(r.staged) == 0 {
		return nil
	}
	keys := make([]string, 0, len(r.staged))
	for k := range r.staged {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b wal.Batch
	for _, k := range keys {
		if v := r.staged[k]; v != nil {
			b.Put(k, v)
		} else {
			b.Delete(k)
		}
		// Every record stands for itself, so a batch of unusual size may go in parts.
		if b.Size() > maxFlush {
			if err := r.store.Apply(&b); err != nil {
				return fmt.Errorf("registry: %w", err)
			}
			b.Reset()
		}
	}
	if err := r.store.Apply(&b); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	clear(r.staged)
	r.stagedBytes = 0
	return nil
}

// Close flushes and releases the store.
func (r *Registry) Close() error {
	return errors.Join(r.Flush(), r.store.Close())
}

// ByToken finds the device that has this access token. Any goroutine.
func (r *Registry) ByToken(token string) (Device, bool) {
	d, ok := r.digest(token)
	if !ok {
		return Device{}, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.tokens[d]; e != nil {
		return e.Device, true
	}
	return Device{}, false
}

// digest is what a token is indexed by; false for what cannot be a token.
func (r *Registry) digest(token string) (digest, bool) {
	if token == "" || len(token) > maxToken {
		return digest{}, false
	}
	var p [len(r.tokenKey) + maxToken]byte
	n := copy(p[:], r.tokenKey[:])
	n += copy(p[n:], token)
	return sha256.Sum256(p[:n]), true
}

// ByID finds a device. Any goroutine.
func (r *Registry) ByID(id proto.UUID) (Device, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.devices[id]; e != nil {
		return e.Device, true
	}
	return Device{}, false
}

// Each calls fn for the devices, in no order, until it returns false. Any goroutine; fn must not call the registry.
func (r *Registry) Each(fn func(Device) bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.devices {
		if !fn(e.Device) {
			return
		}
	}
}

// Devices counts the devices. Any goroutine.
func (r *Registry) Devices() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.devices)
}

// Counts lists what came down, by part and sorted by its name. Any goroutine.
func (r *Registry) Counts() []Count {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Count, 0, len(r.counts))
	for _, c := range r.counts {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		if a.Part < b.Part {
			return -1
		}
		return 1
	})
	return list
}
