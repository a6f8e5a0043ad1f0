package config

import (
	"time"

	"edgesync/sync/device/foreign"
)

// Config is the resolved configuration, made by Load and read-only afterwards. Its defaults are
// those of config.toml.example, as a test proves. The key, unit, bounds and other names of every
// field stand in one table, in keys.go.
type Config struct {
	DataDir   string
	Cloud     Cloud
	Batch     Batch
	Retry     Retry
	Reconnect Reconnect
	Keepalive Keepalive
	Queue     Queue
	Registry  struct{ Keep []string } // bulky kinds to keep: "widgets", "images", "ota"
	Rules     Rules
	Sync      Sync
	Report    struct{ Interval time.Duration } // of the agent's own figures; 0 = none
	HTTP      HTTP
	MQTT      MQTT
	Log       Log
}

// Log is what is logged, how, and where to.
type Log struct {
	Level  string // "debug", "info", "warn", "error"
	Format string // "text", "json"
	Target string // "auto", "stderr", "procd", "journal"
}

// Cloud says where the server is, and which edge this is.
type Cloud struct {
	Host              string // name or address, IPv6 without brackets
	Port              int
	Timeout           time.Duration // for dialling and TLS, and for the answer to the connect request
	RoutingKey        string
	RoutingSecret     string
	RoutingSecretFile string // its content, trimmed, is the secret
	EdgeVersion       int
	MaxInbound        int64 // bytes of a message of the server; 0: by the memory of the machine
	TLS               TLS
}

// TLS of the cloud link. Without CAFile the system's roots are trusted.
type TLS struct {
	Enabled    bool
	CAFile     string
	ServerName string // "" = Cloud.Host
}

// Batch limits one uplink.
type Batch struct {
	Size    int           // events
	Timeout time.Duration // longest wait of an event for more events; 0 = none
}

// Retry is for events that the cloud refused.
type Retry struct {
	Interval time.Duration // between tries
	Max      int           // tries before an event rests in the dead-letter log
}

// Reconnect is the backoff between sessions.
type Reconnect struct {
	Interval    time.Duration // first bound of the random pause; it doubles
	MaxInterval time.Duration // largest bound
}

// Keepalive is for the HTTP/2 pings of the cloud link.
type Keepalive struct {
	Time    time.Duration // silence before a ping
	Timeout time.Duration // for the answer to a ping
}

// Queue is the durable queue.
type Queue struct {
	Durability     string        // "always" or "interval"
	SyncInterval   time.Duration // between fsyncs, with Durability "interval"
	MaxBytes       int64         // 0 = "auto"
	MaxAge         time.Duration // 0 = unlimited
	Policy         string        // "drop_oldest", "reject_new", "thin"
	Keep           int64         // bytes of acknowledged events that stay, key "keep_acknowledged"
	FlashBudget    int64         // bytes a day, 0 = unlimited
	MaxDelay       time.Duration // longest time that commits are collected under the budget
	FlashEndurance int64         // bytes that the medium bears over its life, 0 = not known
}

// Sync is what the edge and the cloud tell each other at a connect.
type Sync struct {
	Full   string        // "first", "never", "always"
	Repeat time.Duration // what was acknowledged so shortly before a lost session goes up again; 0 = nothing
}

// Rules are the rule chains that events go through before the queue.
type Rules struct {
	Mode      string // "cloud", "off"
	OnFailure string // "push", "drop"
	File      string // a chain as ThingsBoard's UI exports it, in place of the cloud's; empty: the cloud's
}

// HTTP is the listener for devices, the REST API, the page and the health checks.
type HTTP struct {
	Listen  string // empty = off
	MaxBody int64  // of a request, in bytes
	TLS     DoorTLS
}

// MQTT is the door for MQTT devices.
type MQTT struct {
	Listen string        // empty = off
	Maps   []foreign.Map // of topics that ThingsBoard does not know; checked
	TLS    DoorTLS
}

// DoorTLS is a door for devices that speak TLS. Over MQTT devices may log in with certificates of
// their own.
type DoorTLS struct {
	Listen   string // empty = off
	CertFile string // PEM: the certificate, then the certificates of its authorities
	KeyFile  string
}
