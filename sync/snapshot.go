package sync

import (
	"strings"
	"time"

	"edgesync/sync/refusal"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// State is the state of the link to the cloud; state.go draws them.
type State uint8

// The states.
const (
	Disconnected State = iota
	Reconnecting
	Draining
	Processing
	Connected
	Refused // the cloud takes no event at the moment; all stay in the queue
)

var stateNames = [...]string{"disconnected", "reconnecting", "draining", "processing", "connected", "refused"}

// String is the state's name in status and logs.
func (s State) String() string { return stateNames[s] }

// Linked reports whether the cloud has accepted a session that has not ended.
func (s State) Linked() bool { return s != Disconnected && s != Reconnecting }

// MarshalText makes the state a word in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word back.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
		}
	}
	return nil
}

// Snapshot is what `edgesync status --json` prints. A field once published keeps its name and
// meaning. Counts are events over the life of data_dir and obey accepted = deployed + pending +
// dropped + dead + damaged. Times are by the machine's clock as it is now, also of what happened
// before it was set.
type Snapshot struct {
	State           State     `json:"state"`
	Since           time.Time `json:"since"`   // of State
	Running         bool      `json:"running"` // false: read from the files, no agent answered
	Version         string    `json:"version"`
	Accepted        uint64    `json:"accepted"`
	Deployed        uint64    `json:"deployed"`
	Pending         uint64    `json:"pending"`
	Dropped         uint64    `json:"dropped"`
	Dead            uint64    `json:"dead"`
	Damaged         uint64    `json:"damaged"`
	OldestPendingMS int64     `json:"oldest_pending_ms"` // age
	// Messages before the queue: received + made = accepted + filtered + held + merged. Received is
	// what devices, people and the edge itself brought, made what rules made of it; filtered is
	// what rules kept from the cloud, held what waits in windows, merged what windows turned into
	// results.
	Received        uint64     `json:"received"`
	Made            uint64     `json:"made"`
	Filtered        uint64     `json:"filtered"`
	Held            uint64     `json:"held"`
	Merged          uint64     `json:"merged"`
	RuleFailures    uint64     `json:"rule_failures"`              // messages that failed at a node with no connection for that
	RootChain       string     `json:"root_chain"`                 // name; "" while none is known
	RootChainNodes  int        `json:"root_chain_nodes"`           // that it has
	RootChainSince  *time.Time `json:"root_chain_since,omitempty"` // in this life
	LastError       string     `json:"last_error"`
	HTTPAddress     string     `json:"http_address"`
	MQTTAddress     string     `json:"mqtt_address"`
	MQTTTLSAddress  string     `json:"mqtt_tls_address,omitempty"`
	HTTPTLSAddress  string     `json:"http_tls_address,omitempty"`
	MQTTConnections int        `json:"mqtt_connections"`
	RSSBytes        int64      `json:"rss_bytes"`
	FlashBytesToday int64      `json:"flash_bytes_today"`   // written to data_dir since midnight UTC, this life
	FlashWearToday  int64      `json:"flash_wear_today"`    // what the medium has written for it, by flash_commit_bytes
	FlashWearPerDay int64      `json:"flash_wear_per_day"`  // at the rate of today; 0 = too early to tell
	FlashYears      float64    `json:"flash_years"`         // that the medium lasts at this rate; 0 = queue.flash_endurance is not set
	FlashAmplified  float64    `json:"flash_amplification"` // bytes that the medium has written today per byte of events
	FlashCommit     int64      `json:"flash_commit_bytes"`  // what one commit costs the medium
	FsyncsToday     uint64     `json:"fsyncs_today"`
	CommitsToday    uint64     `json:"commits_today"`
	Medium          string     `json:"medium"`            // file system and device of data_dir, and what a commit costs there
	MediumFree      int64      `json:"medium_free_bytes"` // what may still be written there, as the kernel estimates
	Stretched       uint64     `json:"commits_stretched"` // group commits of this life that waited because the flash budget was short
	SlowFsyncs      uint64     `json:"slow_fsyncs"`       // of this life, above wal.SlowSync
	UptimeMS        int64      `json:"uptime_ms"`
	QueueBytes      int64      `json:"queue_bytes"`
	Committed       uint64     `json:"committed"`        // offset
	LastOffset      uint64     `json:"last_offset"`      // of the newest durable frame
	InFlight        int        `json:"in_flight"`        // batches sent and not acknowledged
	Window          int        `json:"window"`           // batches that may be in flight
	RTTMS           float64    `json:"rtt_ms"`           // of the last acknowledgement
	Repeated        uint64     `json:"repeated"`         // events sent and acknowledged once more (repeat.go), this life; in no other count
	Replayed        uint64     `json:"replayed"`         // of accepted: those that a person had go up again (replay.go), this life
	Replay          *Replay    `json:"replay,omitempty"` // the one that runs, or the last of this life
	Connects        uint64     `json:"connects"`         // sessions accepted in this life
	Reconnects      uint64     `json:"reconnects"`       // attempts after the first
	NextAttemptMS   int64      `json:"next_attempt_ms"`  // until the next dial, 0 = none planned
	RateLimited     bool       `json:"rate_limited"`
	Edge            string     `json:"edge"`   // the edge's name in the cloud
	Cloud           string     `json:"cloud"`  // host:port
	Synced          bool       `json:"synced"` // a sync completed once, now or in an earlier life
	Sync            string     `json:"sync"`   // progress in words, "" when none runs
	Devices         int        `json:"devices"`
	CallsPending    int        `json:"calls_pending"`       // calls of the cloud that wait for a device or its answer
	Downlinks       uint64     `json:"downlinks"`           // received in this life
	DownlinksUnused uint64     `json:"downlinks_unused"`    // of them acknowledged and not understood or not kept
	UplinkBytes     uint64     `json:"uplink_bytes"`        // payload before compression, this life
	WireIn          uint64     `json:"wire_received_bytes"` // link.Traffic, this life
	WireOut         uint64     `json:"wire_sent_bytes"`
	Writable        bool       `json:"writable"` // the queue takes events
	Commits         uint64     `json:"commits"`  // group commits of this life
	Clock           string     `json:"clock"`    // "system"; "cloud": the machine's is not set, the cloud's serves; "unknown"
	ClockSince      *time.Time `json:"clock_since,omitempty"`
	// By how much this machine's clock is ahead of the server's, as the server's attributes of the
	// edge said when they came last, and less what they took to come; nil: none has come in this
	// life.
	ClockOffsetMS *int64  `json:"clock_offset_ms,omitempty"`
	Parts         []Part  `json:"downlink_parts,omitempty"`
	Former        *Former `json:"former,omitempty"` // events of a former edge, if there are any

	TurnedAway       uint64            `json:"turned_away"`                 // events for which RefusedCreations had no room, this life
	MaxInbound       int               `json:"max_inbound_message_size"`    // bytes, as announced to the cloud
	RefusedCreations *RefusedCreations `json:"refused_creations,omitempty"` // nil: the cloud refuses no creation
	// Creations that the cloud has answered with success, while no sync has shown that it has what
	// they create. They and what waits for them count as dead.
	UnprovenCreations int      `json:"unproven_creations"`
	ExtraWarnings     []string `json:"warnings,omitempty"`

	At            time.Time    `json:"at"`                     // of this snapshot
	LastContact   *time.Time   `json:"last_contact,omitempty"` // the cloud was heard last; nil: never in this life
	LinkedSince   *time.Time   `json:"linked_since,omitempty"` // the cloud accepted the session; nil: there is none
	AttemptsSince uint64       `json:"attempts_since_contact"`
	Causes        []Cause      `json:"causes,omitempty"` // why attempts and sessions have ended since then, at most MaxCauses
	Room          Capacity     `json:"room"`
	Losses        []tally.Loss `json:"losses,omitempty"` // what was given up, the latest first, one for each reason
	Unrecorded    uint64       `json:"dropped_unrecorded"`
	DeadResting   int          `json:"dead_resting"` // of the dead letters, those that are not tried any more by themselves
	DeadWaiting   int          `json:"dead_waiting"` // the others
	Life          Life         `json:"life"`

	// For /metrics alone, of this life: how long fsyncs of the queue took, and answers of the
	// doors.
	FsyncTimes   wal.TimeCounts `json:"-"`
	AnswerTimes  []DoorTimes    `json:"-"`
	Certificates []EndOf        `json:"certificates,omitempty"` // of the doors
	DamagedSeen  uint64         `json:"damaged_seen"`           // damaged events that a person knows of (status --ack)

	Refusals []refusal.Count `json:"refusals,omitempty"` // what the doors refused, by door and reason, this life
	Refused  []refusal.Party `json:"refused,omitempty"`  // whom they refused last, the latest first, at most MaxRefused
}

// StateSince is since when the state lasts for people. A link that works is processing for a moment
// whenever something comes, so it lasts since the cloud has accepted the session.
func (s *Snapshot) StateSince() time.Time {
	if s.LinkedSince != nil && (s.State == Connected || s.State == Processing) {
		return *s.LinkedSince
	}
	return s.Since
}

// EndOf says when the certificate of a door ends.
type EndOf struct {
	Door string    `json:"door"` // what the configuration calls it: "mqtt.tls"
	Ends time.Time `json:"ends"`
}

// DoorTimes is how long a door took to answer telemetry and attributes of devices: HTTP from the
// head of a request on, MQTT from a publish to its acknowledgement.
type DoorTimes struct {
	Door string
	wal.TimeCounts
}

// Life counts what this process has done.
type Life struct {
	Written int64   `json:"flash_written_bytes"` // to data_dir
	Worn    int64   `json:"flash_worn_bytes"`    // what the medium has written for it
	Fsyncs  uint64  `json:"fsyncs"`
	Events  uint64  `json:"events"` // that entered the queue
	CPU     float64 `json:"cpu_seconds"`
}

// MaxRefused bounds Snapshot.Refused.
const MaxRefused = 32

// Part says what came of one part of the cloud's messages, in this life. What is neither kept nor
// malformed was acknowledged and left: it is not for this edge, was never here, or is of a kind
// that registry.keep leaves out.
type Part struct {
	Name      string `json:"name"` // of the field of DownlinkMsg
	Received  uint64 `json:"received"`
	Kept      uint64 `json:"kept"`
	Malformed uint64 `json:"malformed"`
}

// PartWords is the name of a part in words: "widget types".
func PartWords(name string) string {
	var b []byte
	for _, c := range []byte(strings.TrimSuffix(name, "UpdateMsg")) {
		if c >= 'A' && c <= 'Z' {
			b = append(b, ' ', c+'a'-'A')
		} else {
			b = append(b, c)
		}
	}
	if len(b) < len(name) && b[len(b)-1] != 's' && b[len(b)-1] != 'a' {
		b = append(b, 's')
	}
	return string(b)
}

// AddRules fills in what rules have counted: messages that they made, kept from the cloud, hold and
// merged. AddCounts comes before. What was received is known from that and from what the queue
// accepted.
func (s *Snapshot) AddRules(made, filtered, held, merged uint64) {
	s.Made, s.Filtered, s.Held, s.Merged = made, filtered, held, merged
	s.Received = s.Accepted + filtered + held + merged - min(made, s.Accepted+filtered+held+merged)
}
