package status

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/wal"
)

// metric is one line of /metrics. Names follow Prometheus: base units, _total for what only grows.
type metric struct {
	name, kind, help string
	value            func(*agent.Snapshot) float64
}

var metrics = []metric{
	{"events_accepted_total", "counter", "Events acknowledged to devices.", func(s *agent.Snapshot) float64 { return float64(s.Accepted) }},
	{
		"events_deployed_total", "counter", "Events acknowledged by the cloud.",
		func(s *agent.Snapshot) float64 { return float64(s.Deployed) },
	},
	{"events_pending", "gauge", "Events waiting for the cloud.", func(s *agent.Snapshot) float64 { return float64(s.Pending) }},
	{
		"events_dropped_total", "counter", "Events dropped by quota, age or thinning, and dead letters given up.",
		func(s *agent.Snapshot) float64 { return float64(s.Dropped) },
	},
	{
		"events_dead", "gauge", "Events that lie in the dead-letter log.",
		func(s *agent.Snapshot) float64 { return float64(s.Dead) },
	},
	{
		"messages_received_total", "counter", "Messages that devices, people and the edge itself brought.",
		func(s *agent.Snapshot) float64 { return float64(s.Received) },
	},
	{"messages_made_total", "counter", "Messages that rule chains made.", func(s *agent.Snapshot) float64 { return float64(s.Made) }},
	{
		"messages_filtered_total", "counter", "Messages that rule chains kept from the cloud.",
		func(s *agent.Snapshot) float64 { return float64(s.Filtered) },
	},
	{"messages_held", "gauge", "Messages that wait in rule chains.", func(s *agent.Snapshot) float64 { return float64(s.Held) }},
	{
		"messages_merged_total", "counter", "Messages that windows turned into results.",
		func(s *agent.Snapshot) float64 { return float64(s.Merged) },
	},
	{
		"rule_failures_total", "counter", "Messages that failed at a node of a rule chain whose Failure is not connected.",
		func(s *agent.Snapshot) float64 { return float64(s.RuleFailures) },
	},
	{
		"events_of_former_edge", "gauge", "Of them, those of a former edge, which are kept until a person decides.",
		func(s *agent.Snapshot) float64 {
			if s.Former == nil {
				return 0
			}
			return float64(s.Former.Events)
		},
	},
	{"events_damaged_total", "counter", "Events unreadable on the medium.", func(s *agent.Snapshot) float64 { return float64(s.Damaged) }},
	{
		"events_repeated_total", "counter", "Acknowledged events sent again because the cloud may have lost them, since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.Repeated) },
	},
	{
		"events_replayed_total", "counter", "Of events_accepted_total, acknowledged events that a person had sent again, since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.Replayed) },
	},
	{
		"oldest_pending_seconds", "gauge", "Age of the oldest pending event.",
		func(s *agent.Snapshot) float64 { return float64(s.OldestPendingMS) / 1000 },
	},
	{"queue_bytes", "gauge", "Size of the queue on the medium.", func(s *agent.Snapshot) float64 { return float64(s.QueueBytes) }},
	{"queue_writable", "gauge", "1 while the queue takes events.", func(s *agent.Snapshot) float64 { return bit(s.Writable) }},
	{
		"clock_known", "gauge", "1 while the time is known, from this machine or from the cloud.",
		func(s *agent.Snapshot) float64 { return bit(s.Clock != clock.Unknown.String()) },
	},
	{"queue_commits_total", "counter", "Group commits since the start.", func(s *agent.Snapshot) float64 { return float64(s.Commits) }},
	{
		"flash_wear_today_bytes", "gauge", "Bytes that the medium has written for data_dir since midnight UTC, as reckoned.",
		func(s *agent.Snapshot) float64 { return float64(s.FlashWearToday) },
	},
	{"fsyncs_today", "gauge", "Fsyncs in data_dir since midnight UTC.", func(s *agent.Snapshot) float64 { return float64(s.FsyncsToday) }},
	{
		"queue_commits_stretched_total", "counter", "Group commits that waited because the flash budget was short.",
		func(s *agent.Snapshot) float64 { return float64(s.Stretched) },
	},
	{
		"slow_fsyncs_total", "counter", "Fsyncs of the queue that took longer than 500 ms.",
		func(s *agent.Snapshot) float64 { return float64(s.SlowFsyncs) },
	},
	{
		"refused_creations", "gauge", "Devices that the cloud refuses to create.",
		func(s *agent.Snapshot) float64 { return float64(refusedOf(s).Devices) },
	},
	{
		"unproven_creations", "gauge", "Creations that the cloud has accepted and no sync has proved yet.",
		func(s *agent.Snapshot) float64 { return float64(s.UnprovenCreations) },
	},
	{
		"events_waiting_for_creation", "gauge", "Of events_dead, those that wait for the creation of their device.",
		func(s *agent.Snapshot) float64 { return float64(refusedOf(s).Events) },
	},
	{
		"events_turned_away_total", "counter", "Events of such devices for which there was no room, since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.TurnedAway) },
	},
	{
		"flash_bytes_today", "gauge", "Bytes written since midnight UTC.",
		func(s *agent.Snapshot) float64 { return float64(s.FlashBytesToday) },
	},
	{
		"committed_offset", "gauge", "Offset up to which the cloud has acknowledged.",
		func(s *agent.Snapshot) float64 { return float64(s.Committed) },
	},
	{"last_offset", "gauge", "Offset of the newest durable frame.", func(s *agent.Snapshot) float64 { return float64(s.LastOffset) }},
	{"in_flight_batches", "gauge", "Batches sent and not acknowledged.", func(s *agent.Snapshot) float64 { return float64(s.InFlight) }},
	{"window_batches", "gauge", "Batches that may be in flight.", func(s *agent.Snapshot) float64 { return float64(s.Window) }},
	{"rtt_seconds", "gauge", "Time that the last acknowledgement took.", func(s *agent.Snapshot) float64 { return s.RTTMS / 1000 }},
	{
		"connects_total", "counter", "Sessions accepted by the cloud since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.Connects) },
	},
	{
		"reconnects_total", "counter", "Attempts to connect after the first.",
		func(s *agent.Snapshot) float64 { return float64(s.Reconnects) },
	},
	{"rate_limited", "gauge", "1 while the cloud limits the rate.", func(s *agent.Snapshot) float64 { return bit(s.RateLimited) }},
	{"synced", "gauge", "1 once a sync has completed.", func(s *agent.Snapshot) float64 { return bit(s.Synced) }},
	{"devices", "gauge", "Devices known here.", func(s *agent.Snapshot) float64 { return float64(s.Devices) }},
	{
		"downlinks_total", "counter", "Messages received from the cloud since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.Downlinks) },
	},
	{
		"downlinks_unused_total", "counter", "Of them acknowledged and not kept.",
		func(s *agent.Snapshot) float64 { return float64(s.DownlinksUnused) },
	},
	{
		"max_inbound_message_bytes", "gauge", "Size up to which messages of the cloud are taken, OTA packages among them.",
		func(s *agent.Snapshot) float64 { return float64(s.MaxInbound) },
	},
	{
		"uplink_bytes_total", "counter", "Bytes sent before compression since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.UplinkBytes) },
	},
	{
		"wire_sent_bytes_total", "counter", "Bytes sent to the cloud since the start, HTTP/2 and TLS included.",
		func(s *agent.Snapshot) float64 { return float64(s.WireOut) },
	},
	{
		"wire_received_bytes_total", "counter", "Bytes received from the cloud since the start, HTTP/2 and TLS included.",
		func(s *agent.Snapshot) float64 { return float64(s.WireIn) },
	},
	{
		"queue_limit_bytes", "gauge", "Room for the queue on the medium (queue.max_bytes).",
		func(s *agent.Snapshot) float64 { return float64(s.Room.Limit) },
	},
	{
		"queue_free_bytes", "gauge", "Of queue_limit_bytes, what is not used.",
		func(s *agent.Snapshot) float64 { return float64(max(0, s.Room.Limit-s.Room.Used)) },
	},
	{
		"flash_written_bytes_total", "counter", "Bytes written to data_dir since the start.",
		func(s *agent.Snapshot) float64 { return float64(s.Life.Written) },
	},
	{
		"flash_worn_bytes_total", "counter", "Bytes that the medium has written for data_dir since the start, as reckoned.",
		func(s *agent.Snapshot) float64 { return float64(s.Life.Worn) },
	},
	{"fsyncs_total", "counter", "Fsyncs in data_dir since the start.", func(s *agent.Snapshot) float64 { return float64(s.Life.Fsyncs) }},
	{
		"dead_letters_waiting", "gauge", "Dead letters that are tried again by themselves.",
		func(s *agent.Snapshot) float64 { return float64(s.DeadWaiting) },
	},
	{
		"dead_letters_resting", "gauge", "Dead letters that wait for a person.",
		func(s *agent.Snapshot) float64 { return float64(s.DeadResting) },
	},
	{
		"attempts_since_contact", "gauge", "Attempts to connect since the cloud was heard last.",
		func(s *agent.Snapshot) float64 { return float64(s.AttemptsSince) },
	},
	{"resident_memory_bytes", "gauge", "Memory of the process.", func(s *agent.Snapshot) float64 { return float64(s.RSSBytes) }},
	{"uptime_seconds", "gauge", "Time since the start.", func(s *agent.Snapshot) float64 { return float64(s.UptimeMS) / 1000 }},
}

// seconds is a time as Prometheus wants it.
func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// label is a text as the value of a label.
func label(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text)
}

// openFiles is how many files and sockets this process has open; 0 where the kernel does not say.
func openFiles() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(0)
	return max(0, len(names)-1) // without the directory
}

func refusedOf(s *agent.Snapshot) agent.RefusedCreations {
	if s.RefusedCreations == nil {
		return agent.RefusedCreations{}
	}
	return *s.RefusedCreations
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// states in the order of the life of a link.
var states = []agent.State{agent.Disconnected, agent.Reconnecting, agent.Draining, agent.Processing, agent.Connected, agent.Refused}

// Metrics is a snapshot in the text form of Prometheus.
func Metrics(s *agent.Snapshot) []byte {
	var b bytes.Buffer
	head := func(name, kind, help string) {
		b.WriteString("# HELP edgesync_" + name + " " + help + "\n# TYPE edgesync_" + name + " " + kind + "\n")
	}
	for i := range metrics {
		m := &metrics[i]
		head(m.name, m.kind, m.help)
		b.WriteString("edgesync_" + m.name + " " + strconv.FormatFloat(m.value(s), 'f', -1, 64) + "\n")
	}
	if f := s.Former; f != nil && f.Edge != "" {
		head("former_edge_info", "gauge", "Always 1; the former edge with the most events here is a label.")
		b.WriteString(`edgesync_former_edge_info{edge="` + label(f.Edge) + `",command="` + label(f.Command) + "\"} 1\n")
	}
	head("refusals_total", "counter", "What the doors refused since the start, by door and reason.")
	for _, c := range s.Refusals {
		b.WriteString(`edgesync_refusals_total{door="` + label(c.Door) + `",reason="` + label(c.Reason) + `"} ` +
			strconv.FormatUint(c.Count, 10) + "\n")
	}
	histogram := func(name, labels string, t *wal.TimeCounts) {
		all := uint64(0)
		for i, n := range t.Counts {
			le := "+Inf"
			if all += n; i < len(t.Counts)-1 {
				le = strconv.FormatFloat(float64(uint(1)<<i)/1000, 'f', -1, 64)
			}
			b.WriteString("edgesync_" + name + "_bucket{" + labels + `le="` + le + `"} ` + strconv.FormatUint(all, 10) + "\n")
		}
		if labels = strings.TrimSuffix(labels, ","); labels != "" {
			labels = "{" + labels + "}"
		}
		b.WriteString("edgesync_" + name + "_sum" + labels + " " + strconv.FormatFloat(t.Sum.Seconds(), 'f', 6, 64) + "\n" +
			"edgesync_" + name + "_count" + labels + " " + strconv.FormatUint(all, 10) + "\n")
	}
	head("fsync_seconds", "histogram", "How long fsyncs of the queue took, since the start.")
	histogram("fsync_seconds", "", &s.FsyncTimes)
	if len(s.AnswerTimes) > 0 {
		head("answer_seconds", "histogram", "How long a door took to answer telemetry and attributes, since the start.")
		for i := range s.AnswerTimes {
			histogram("answer_seconds", `door="`+label(s.AnswerTimes[i].Door)+`",`, &s.AnswerTimes[i].TimeCounts)
		}
	}
	head("state", "gauge", "State of the link: 1 for the present one.")
	for _, st := range states {
		b.WriteString(`edgesync_state{state="` + st.String() + `"} ` + strconv.FormatFloat(bit(st == s.State), 'f', -1, 64) + "\n")
	}
	head("events_lost_total", "counter", "Events given up over the life of data_dir, by reason; unrecorded: a crash has forgotten it.")
	for _, l := range s.Losses {
		b.WriteString(`edgesync_events_lost_total{reason="` + l.Reason + `"} ` + strconv.FormatUint(l.Total, 10) + "\n")
	}
	b.WriteString(`edgesync_events_lost_total{reason="unrecorded"} ` + strconv.FormatUint(s.Unrecorded, 10) + "\n")
	if s.LastContact != nil {
		head("last_contact_timestamp_seconds", "gauge", "When the cloud was heard last, in this life.")
		b.WriteString("edgesync_last_contact_timestamp_seconds " + seconds(*s.LastContact) + "\n")
	}
	if s.ClockOffsetMS != nil {
		head("clock_offset_seconds", "gauge", "By how much this machine's clock is ahead of the server's, as learned last in this life.")
		b.WriteString("edgesync_clock_offset_seconds " + strconv.FormatFloat(float64(*s.ClockOffsetMS)/1000, 'f', 3, 64) + "\n")
	}
	if len(s.Certificates) > 0 {
		head("certificate_expiry_timestamp_seconds", "gauge", "When the certificate of a door ends.")
		for _, c := range s.Certificates {
			b.WriteString(`edgesync_certificate_expiry_timestamp_seconds{door="` + label(c.Door) + `"} ` + seconds(c.Ends) + "\n")
		}
	}
	head("headline", "gauge", "1 for what edgesync status says first.")
	health := Judge(s)
	for _, k := range kinds {
		b.WriteString(`edgesync_headline{kind="` + string(k) + `"} ` + strconv.FormatFloat(bit(k == health.Kind), 'f', -1, 64) + "\n")
	}
	process := func(name, kind, help, value string) {
		b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n" + name + " " + value + "\n")
	}
	process("process_resident_memory_bytes", "gauge", "Resident memory.", strconv.FormatInt(s.RSSBytes, 10))
	process("process_cpu_seconds_total", "counter", "Time of the processor.", strconv.FormatFloat(s.Life.CPU, 'f', 3, 64))
	process("process_start_time_seconds", "gauge", "When the process began.",
		seconds(s.At.Add(-time.Duration(s.UptimeMS)*time.Millisecond)))
	if n := openFiles(); n > 0 {
		process("process_open_fds", "gauge", "Files and sockets that are open.", strconv.Itoa(n))
	}
	var most syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) == nil {
		process("process_max_fds", "gauge", "How many may be open.", strconv.FormatUint(uint64(most.Cur), 10))
	}
	process("go_goroutines", "gauge", "Goroutines.", strconv.Itoa(runtime.NumGoroutine()))
	b.WriteString("# HELP go_info The version of Go.\n# TYPE go_info gauge\ngo_info{version=\"" + label(runtime.Version()) + "\"} 1\n")
	head("build_info", "gauge", "Always 1; the version is a label.")
	b.WriteString(`edgesync_build_info{version="` + label(s.Version) + "\"} 1\n")
	return b.Bytes()
}

func serveMetrics(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, going *answers) {
	s := src.Snapshot()
	going.reply(w, r, "text/plain; version=0.0.4; charset=utf-8", Metrics(&s))
}
