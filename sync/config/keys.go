package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"edgesync/sync/device/foreign"
)

// key is one row of the table of all configuration keys: its name in TOML (section.name), from
// which its flag (--section.name) and its variable (EDGESYNC_SECTION_NAME) follow, its default,
// bounds and help.
type key struct {
	path  string
	def   string // as a person would write it; parsed like any other value
	doc   string
	field func(*Config) any // *string, *bool, *int, *int64 (a size in bytes), *time.Duration, *[]string or *[]foreign.Map

	unit     time.Duration // of a plain number, for durations
	min, max int64         // bounds of int, bytes and nanoseconds
	auto     bool          // the word "auto" is allowed and stored as 0
	choices  []string      // all values that are allowed
	check    func(string) error

	secret bool // the value is never printed
	// aliases are variables of ThingsBoard Edge and of other programs with the same meaning.
	aliases []alias
	// spelled are other names of the key. Somebody who writes one is offered the key.
	spelled []string
}

// alias is a variable of another program. convert, if there is one, translates its text; present is
// the value that the key has so far.
type alias struct {
	name    string
	convert func(text, present string) (value, notice string, err error)
}

const (
	kib = 1 << 10
	mib = 1 << 20
	tib = 1 << 40

	ms   = int64(time.Millisecond)
	sec  = int64(time.Second)
	hour = int64(time.Hour)
)

// keys is in the order of config.toml.example, which explains the defaults and bounds, of `check`
// and of the help.
var keys = []key{
	{
		path: "data_dir", def: "edgesync-data", field: func(c *Config) any { return &c.DataDir }, check: notEmpty,
		doc: "directory of everything that must survive: queue, dead letters, registry",
	},
	{
		path: "cloud.host", def: "localhost", field: func(c *Config) any { return &c.Cloud.Host }, check: checkHost,
		doc: "name or address of the ThingsBoard server", aliases: []alias{{name: "CLOUD_RPC_HOST"}},
	},
	{
		path: "cloud.port", def: "7070", field: func(c *Config) any { return &c.Cloud.Port }, min: 1, max: 65535,
		doc: "port of its gRPC service for edges", aliases: []alias{{name: "CLOUD_RPC_PORT"}},
	},
	{
		path: "cloud.timeout", def: "5s",
		field: func(c *Config) any { return &c.Cloud.Timeout }, unit: time.Millisecond, min: 100 * ms, max: hour,
		doc:     "longest wait for dialling and TLS, and for the answer to the connect request",
		aliases: []alias{{"CLOUD_RPC_TIMEOUT", rpcTimeout}},
	},
	{
		path: "cloud.routing_key", field: func(c *Config) any { return &c.Cloud.RoutingKey },
		doc: "the edge's key, shown on its page in ThingsBoard", aliases: []alias{{name: "CLOUD_ROUTING_KEY"}},
	},
	{
		path: "cloud.routing_secret", field: func(c *Config) any { return &c.Cloud.RoutingSecret }, secret: true,
		doc: "the edge's secret, from the same page", aliases: []alias{{name: "CLOUD_ROUTING_SECRET"}},
	},
	{
		path: "cloud.routing_secret_file", field: func(c *Config) any { return &c.Cloud.RoutingSecretFile },
		doc: "file that holds the secret, instead of routing_secret",
	},
	{
		path: "cloud.edge_version", def: "12", field: func(c *Config) any { return &c.Cloud.EdgeVersion }, max: 99999,
		doc: "version of ThingsBoard Edge to announce, as its number in the protocol; 12 suits servers from 4.2.0 on",
	},
	{
		path: "cloud.max_inbound_message_size", def: "auto",
		field: func(c *Config) any { return &c.Cloud.MaxInbound }, auto: true, min: mib, max: 256 * mib,
		doc: "largest message to take from the server, OTA packages among them; auto: by the memory, 8MiB to 64MiB",
	},
	{
		path: "cloud.tls.enabled", def: "false", field: func(c *Config) any { return &c.Cloud.TLS.Enabled },
		doc: "encrypt the link to the cloud", aliases: []alias{{name: "CLOUD_RPC_SSL_ENABLED"}},
	},
	{
		path: "cloud.tls.ca_file", field: func(c *Config) any { return &c.Cloud.TLS.CAFile },
		doc: "PEM file of the authority to trust; empty: the system's", aliases: []alias{{name: "CLOUD_RPC_SSL_CERT"}},
	},
	{
		path: "cloud.tls.server_name", field: func(c *Config) any { return &c.Cloud.TLS.ServerName },
		doc: "name that the server's certificate must bear; empty: cloud.host",
	},
	{
		path: "batch.size", def: "100", field: func(c *Config) any { return &c.Batch.Size }, min: 1, max: 10000,
		doc: "most events in one message to the cloud",
	},
	{
		path: "batch.timeout", def: "1s",
		field: func(c *Config) any { return &c.Batch.Timeout }, unit: time.Millisecond, max: 60 * sec,
		doc: "longest wait of an event for more events; 0: send on arrival",
	},
	{
		path: "retry.interval", def: "3s",
		field: func(c *Config) any { return &c.Retry.Interval }, unit: time.Millisecond, min: 10 * ms, max: 24 * hour,
		doc: "pause between tries of an event that the cloud refused",
	},
	{
		path: "retry.max", def: "10",
		field: func(c *Config) any { return &c.Retry.Max }, max: 1000000, spelled: []string{"max.retries"},
		doc: "tries of a refused event before it rests in the dead-letter log",
	},
	{
		path: "reconnect.interval", def: "3s",
		field: func(c *Config) any { return &c.Reconnect.Interval },
		unit:  time.Millisecond, min: 10 * ms, max: 24 * hour,
		doc: "first bound of the random pause before a new connection; it doubles",
	},
	{
		path: "reconnect.max_interval", def: "60s",
		field: func(c *Config) any { return &c.Reconnect.MaxInterval },
		unit:  time.Millisecond, min: 10 * ms, max: 24 * hour,
		doc: "largest bound of that pause", spelled: []string{"reconnect.max.interval"},
	},
	{
		path: "keepalive.time", def: "30s",
		field: func(c *Config) any { return &c.Keepalive.Time }, unit: time.Second, min: 10 * sec, max: 24 * hour,
		doc: "silence after which the link is pinged",
	},
	{
		path: "keepalive.timeout", def: "10s",
		field: func(c *Config) any { return &c.Keepalive.Timeout }, unit: time.Second, min: sec, max: hour,
		doc: "longest wait for the answer to a ping; then the link is given up",
	},
	{
		path: "queue.durability", def: "always",
		field: func(c *Config) any { return &c.Queue.Durability }, choices: []string{"always", "interval"},
		doc: "always: on flash before a device hears \"accepted\"; interval: written before, on flash every sync_interval",
	},
	{
		path: "queue.sync_interval", def: "1s",
		field: func(c *Config) any { return &c.Queue.SyncInterval },
		unit:  time.Millisecond, min: 10 * ms, max: 60 * sec,
		doc: "time between two syncs with durability \"interval\": a power cut costs at most what came in it",
	},
	{
		path: "queue.max_bytes", def: "auto",
		field: func(c *Config) any { return &c.Queue.MaxBytes }, auto: true, min: mib, max: tib,
		doc: "room for waiting events; auto: half of what is free at the first start, 1MiB to 1GiB, on raw flash to 8MiB",
	},
	{
		path: "queue.max_age", def: "0",
		field: func(c *Config) any { return &c.Queue.MaxAge }, unit: time.Second, max: 50 * 365 * 24 * hour,
		doc: "age at which a waiting event is dropped and counted; 0: never",
	},
	{
		path: "queue.policy", def: "drop_oldest",
		field: func(c *Config) any { return &c.Queue.Policy }, choices: []string{"drop_oldest", "reject_new", "thin"},
		doc: "what gives way when the room is used up: drop_oldest, reject_new, thin",
	},
	{
		path: "queue.keep_acknowledged", def: "0", field: func(c *Config) any { return &c.Queue.Keep }, max: tib,
		doc: "bytes of events that stay here after the cloud has taken them, for edgesync replay; at most half of max_bytes",
	},
	{
		path: "queue.flash_budget", def: "0", field: func(c *Config) any { return &c.Queue.FlashBudget }, max: tib,
		doc: "bytes a day to write before commits are collected; 0: unlimited",
	},
	{
		path: "queue.max_delay", def: "1s",
		field: func(c *Config) any { return &c.Queue.MaxDelay }, unit: time.Millisecond, max: 60 * sec,
		doc: "longest that a device waits for its answer when the flash budget is short",
	},
	{
		path: "queue.flash_endurance", def: "0",
		field: func(c *Config) any { return &c.Queue.FlashEndurance }, max: 1 << 60,
		doc: "bytes that the medium bears, from its data sheet; status then shows how many years it lasts; 0: not known",
	},
	{
		path:  "registry.keep",
		field: func(c *Config) any { return &c.Registry.Keep }, choices: []string{"widgets", "images", "ota"},
		doc: "bulky things from the cloud to keep: widgets, images, ota",
	},
	{
		path: "rules.mode", def: "cloud",
		field: func(c *Config) any { return &c.Rules.Mode }, choices: []string{"cloud", "off"},
		doc: "cloud: the rule chains that the cloud assigns decide what goes up; off: everything does",
	},
	{
		path: "rules.on_failure", def: "push",
		field: func(c *Config) any { return &c.Rules.OnFailure }, choices: []string{"push", "drop"},
		doc: "what becomes of a message whose node failed: push it as it came, or drop it as ThingsBoard Edge does",
	},
	{
		path: "rules.file", field: func(c *Config) any { return &c.Rules.File },
		doc: "a rule chain as ThingsBoard's page exports it, in place of the cloud's",
	},
	{
		path: "sync.full", def: "first",
		field: func(c *Config) any { return &c.Sync.Full }, choices: []string{"first", "never", "always"},
		doc: "when to ask the cloud for everything it has for this edge: first, never, always",
	},
	{
		path: "sync.repeat", def: "10s",
		field: func(c *Config) any { return &c.Sync.Repeat }, unit: time.Second, max: 60 * sec,
		doc: "what was acknowledged so shortly before a lost connection is sent again: the cloud may have lost it; 0: nothing",
	},
	{
		path: "report.interval", def: "5m",
		field: func(c *Config) any { return &c.Report.Interval }, unit: time.Second, max: 24 * hour,
		doc: "time between two reports of the agent's own figures, as telemetry of the edge; 0: none",
	},
	{
		path: "http.listen", def: ":8080", field: func(c *Config) any { return &c.HTTP.Listen }, check: checkListen,
		doc:     "address for devices, the page, /metrics, /healthz, /readyz; empty: off",
		aliases: []alias{{"HTTP_BIND_PORT", bindPort}, {"HTTP_BIND_ADDRESS", bindAddress}},
	},
	{
		path: "http.max_body", def: "16MiB",
		field: func(c *Config) any { return &c.HTTP.MaxBody }, min: kib, max: 16 * mib,
		doc: "largest request of a device",
	},
	{
		path: "http.tls.listen", field: func(c *Config) any { return &c.HTTP.TLS.Listen }, check: checkListen,
		doc: "address for the same with TLS (https), such as \":8443\"; empty: off",
	},
	{
		path: "http.tls.cert_file", field: func(c *Config) any { return &c.HTTP.TLS.CertFile },
		doc: "PEM file with the certificate to show over HTTP, and those of its authorities",
	},
	{
		path: "http.tls.key_file", field: func(c *Config) any { return &c.HTTP.TLS.KeyFile },
		doc: "PEM file with its key",
	},
	{
		path: "mqtt.listen", def: ":1883", field: func(c *Config) any { return &c.MQTT.Listen }, check: checkListen,
		doc:     "address for MQTT devices; empty: off",
		aliases: []alias{{"MQTT_BIND_PORT", bindPort}, {"MQTT_BIND_ADDRESS", bindAddress}},
	},
	{
		path: "mqtt.map", field: func(c *Config) any { return &c.MQTT.Maps },
		doc: "what becomes of gateways' topics that ThingsBoard does not know: tables of filter, device, type, as, key, prefix, flatten",
	},
	{
		path: "mqtt.tls.listen", field: func(c *Config) any { return &c.MQTT.TLS.Listen }, check: checkListen,
		doc: "address for MQTT devices with TLS, such as \":8883\"; empty: off",
	},
	{
		path: "mqtt.tls.cert_file", field: func(c *Config) any { return &c.MQTT.TLS.CertFile },
		doc: "PEM file with the certificate to show to MQTT devices, and those of its authorities",
	},
	{
		path: "mqtt.tls.key_file", field: func(c *Config) any { return &c.MQTT.TLS.KeyFile },
		doc: "PEM file with its key",
	},
	{
		path: "log.level", def: "info", field: func(c *Config) any { return &c.Log.Level }, choices: []string{
			"debug",
			"info", "warn", "error",
		},
		doc: "debug, info, warn, error",
	},
	{
		path: "log.format", def: "text", field: func(c *Config) any { return &c.Log.Format }, choices: []string{"text", "json"},
		doc: "a line of the log as text or as JSON",
	},
	{
		path: "log.target", def: "auto",
		field: func(c *Config) any { return &c.Log.Target }, choices: []string{"auto", "stderr", "procd", "journal"},
		doc: "stderr, procd or journal; auto: the journal where systemd gives it, else stderr",
	},
}

// env is the key's variable.
func (k *key) env() string { return envPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_")) }

const envPrefix = "EDGESYNC_"

// tables says whether the value of the key is a list of tables.
func (k *key) tables() bool {
	_, ok := k.field(new(Config)).(*[]foreign.Map)
	return ok
}

// keyOf is the key with a path; nil if there is none.
func keyOf(path string) *key {
	for i := range keys {
		if keys[i].path == path {
			return &keys[i]
		}
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// checkHost refuses what people put there by mistake: an address of a web page, a port.
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	switch {
	case s == "":
		return errors.New("must not be empty")
	case strings.Contains(s, "://") || strings.Contains(s, "/"):
		return errors.New("must be a name or an address alone, such as thingsboard.example.org, not a URL")
	case strings.ContainsAny(s, ":[]"):
		return errors.New("must be a name or an address alone, IPv6 without brackets; the port belongs into cloud.port")
	case strings.ContainsAny(s, " \t"):
		return errors.New("must not contain blanks")
	case len(s) > 253:
		return errors.New("must be at most 253 characters long")
	}
	return nil
}

func checkListen(s string) error {
	if s == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /") {
		return errors.New(`must be "address:port" or ":port", such as ":8080" or "127.0.0.1:8080", IPv6 in brackets; empty: off`)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return errors.New("must end in a port from 0 to 65535; 0 lets the system choose")
	}
	return nil
}

// rpcTimeout reads CLOUD_RPC_TIMEOUT, in milliseconds. ThingsBoard Edge's own files give seconds
// under the same name (CONTRACT.md 2.2), so a number that cannot mean milliseconds is taken as
// seconds, with a notice.
func rpcTimeout(text, _ string) (value, notice string, err error) {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 63); err == nil && n > 0 && n < 100 {
		return strconv.FormatUint(n, 10) +
			"s", fmt.Sprintf("CLOUD_RPC_TIMEOUT=%d is taken as %d seconds: below 100 it cannot mean milliseconds", n, n), nil
	}
	return text, "", nil
}

// bindAddress translates the first of ThingsBoard Edge's two variables of a listener into our one
// key. An address alone does not open a listener that is off.
func bindAddress(text, present string) (value, notice string, err error) {
	_, port, err := net.SplitHostPort(present)
	if err != nil {
		return present, "", nil
	}
	return net.JoinHostPort(strings.Trim(strings.TrimSpace(text), "[]"), port), "", nil
}

// bindPort translates the second of ThingsBoard Edge's two variables of a listener into our one
// key.
func bindPort(text, present string) (value, notice string, err error) {
	host, _, err := net.SplitHostPort(present)
	if err != nil {
		host = ""
	}
	text = strings.TrimSpace(text)
	if _, err := strconv.ParseUint(text, 10, 16); err != nil {
		return "", "", errors.New("must be a port from 0 to 65535")
	}
	return net.JoinHostPort(host, text), "", nil
}
