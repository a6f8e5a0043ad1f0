// Package config is the configuration of an agent: its keys, where their values come from, and what
// is said about a wrong one.
//
//	defaults ─> file ──────> environment ─> flags       later wins
//	   │            │             │           │
//	   └────────────┴── key.set ──┴───────────┘
//	                       │
//	                    Loaded: Config, the source of each value, notices; or all problems
//
// Everything about a key stands in one row of the table keys (keys.go): its name in the file
// (section.name), its flag (--section.name), its variable (EDGESYNC_SECTION_NAME), default, unit,
// bounds, choices and help. config.toml.example describes every key for people; a test holds it
// against the table.
//
// The file is TOML, or in the form of OpenWrt's /etc/config (openwrt.go, package uci), where each
// key is an option: cloud.tls.ca_file is ca_file of the section cloud_tls, data_dir is one of the
// section main. That section also has what the init script reads; its option config names another
// file that counts alone. UCI has no empty values: a listener is 'off'. Two things follow from the
// place: data_dir is /srv/edgesync, and the secret is read from /etc/edgesync/secret if nothing
// names another place.
//
// A list of tables is one key like any other (maps.go): [[section.name]] in the file, a TOML array
// of inline tables in the variable and the flag, sections of the type section_name in OpenWrt's
// form. What is wrong in it names the table, counted from 1, and the key.
//
// # Invariants
//
//   - A Config is checked when it is made and read-only from then on.
//   - All problems are reported at once, each with the source of the value and what is allowed.
//   - No error, notice or Value contains a secret, however wrong it is written.
//   - An unknown name in the file, among EDGESYNC_ variables or among flags is an error with the
//     nearest known name. Reports are bounded (maxUnknown).
//
// # A new key
//
//  1. config.go: a field of Config.
//  2. keys.go: a row of keys. The flag, the variable, `check` and the help follow from it.
//  3. config.toml.example: a line `#name = default`, in the order of the keys.
//  4. config_test.go: TestKeysAreFixed, TestEveryKey, and TestDefaults if the default is not empty.
//
// The code that uses the key reads it from Deps.Config, by name.
package config
