package config

import "time"

// Config is the resolved configuration, made by Load and read-only afterwards. Its defaults are those of config.toml.example (a
// test proves it). Keys, units, bounds and other names of every field stand in one table, in config_keys.go.
type Config struct {
	DataDir   string
	Cloud     Cloud
	Batch     Batch
	Retry     Retry
	Reconnect Reconnect
	Keepalive Keepalive
	Queue     Queue
	Registry  struct{ Keep []string } // bulky kinds to keep: "widgets", "images", "ota"
	Sync      struct{ Full string }   // "first", "never", "always"
	HTTP      HTTP
	MQTT      MQTT
	Log       struct{ Level string } // "debug", "info", "warn", "error"
}

// Cloud says where the server is and who we are.
type Cloud struct {
	Host              string // name or address, IPv6 without brackets
	Port              int
	Timeout           time.Duration // dial and TLS; answer to CONNECT
	RoutingKey        string
	RoutingSecret     string
	RoutingSecretFile string // its content (trimmed) is the secret
	EdgeVersion       int
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
	Timeout time.Duration // waiting for company; 0 = none
}

// Retry is for events that the cloud refused.
type Retry struct {
	Interval time.Duration
	Max      int
}

// Reconnect is the backoff between sessions.
type Reconnect struct {
	Interval    time.Duration
	MaxInterval time.Duration
}

// Keepalive is HTTP/2 pings.
type Keepalive struct {
	Time    time.Duration
	Timeout time.Duration
}

// Queue is the durable queue.
type Queue struct {
	Durability     string        // "always" or "interval"
	SyncInterval   time.Duration // between fsyncs, with Durability "interval"
	MaxBytes       int64         // 0 = "auto"
	MaxAge         time.Duration // 0 = unlimited
	Policy         string        // "drop_oldest", "reject_new", "thin"
	FlashBudget    int64         // bytes a day, 0 = unlimited
	MaxDelay       time.Duration // longest stretch of a group commit under the budget
	FlashEndurance int64         // bytes that the medium bears over its life, 0 = not known
}

// HTTP is the door for devices, the page and the health checks.
type HTTP struct {
	Listen  string
	MaxBody int64
}

// MQTT is the door for MQTT devices.
type MQTT struct {
	Listen string // empty = off
	TLS    MQTTTLS
}

// MQTTTLS is the same door with TLS. Devices may prove who they are by certificates of their own.
type MQTTTLS struct {
	Listen   string // empty = off
	CertFile string // PEM: the certificate, then those of its authorities
	KeyFile  string
}
