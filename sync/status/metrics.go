package status

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	agent "edgesync/sync"
	"edgesync/sync/clock"
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
	{"resident_memory_bytes", "gauge", "Memory of the process.", func(s *agent.Snapshot) float64 { return float64(s.RSSBytes) }},
	{"uptime_seconds", "gauge", "Time since the start.", func(s *agent.Snapshot) float64 { return float64(s.UptimeMS) / 1000 }},
}

// label is a text as the value of a label.
func label(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text)
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

func serveMetrics(w http.ResponseWriter, r *http.Request, src Source, going *answers) {
	s := src.Snapshot()
	var b bytes.Buffer
	head := func(name, kind, help string) {
		b.WriteString("# HELP edgesync_" + name + " " + help + "\n# TYPE edgesync_" + name + " " + kind + "\n")
	}
	for i := range metrics {
		m := &metrics[i]
		head(m.name, m.kind, m.help)
		b.WriteString("edgesync_" + m.name + " " + strconv.FormatFloat(m.value(&s), 'f', -1, 64) + "\n")
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
	head("state", "gauge", "State of the link: 1 for the present one.")
	for _, st := range states {
		b.WriteString(`edgesync_state{state="` + st.String() + `"} ` + strconv.FormatFloat(bit(st == s.State), 'f', -1, 64) + "\n")
	}
	head("build_info", "gauge", "Always 1; the version is a label.")
	b.WriteString(`edgesync_build_info{version="` + label(s.Version) + "\"} 1\n")
	going.reply(w, r, "text/plain; version=0.0.4; charset=utf-8", b.Bytes())
}
