// Package registry holds what the cloud has provisioned for this edge: who the edge is, its devices
// with credentials and profiles, attributes, and all other entities. It survives power cuts, so
// that devices are served after a restart without a cloud.
//
// # Who calls what
//
//	DownlinkMsg ──Apply──▶ staged changes ──Flush (one write, one fsync)──▶ store.Store, file "store"
//	                ├────▶ devices and indexes in memory ◀── ByToken, ByMQTT, ByName, … (any goroutine, a read lock)
//	                └────▶ Watcher: what live sessions must follow
//	device posts ──Posted─▶ client attributes, durable with the next Flush
//	gateway ──Prepare, (queue), Adopt──▶ devices made here, see create.go
//	people, (queue) ──Edit─▶ what is changed here, see edits.go
//
// Whoever changes something holds the write lock, mostly the loop's goroutine. A lookup sees a
// change as soon as it is applied; the cloud hears of it when it is durable. Applying is
// idempotent, and what is stored already is not written again, because every connect brings a sync
// with the same content.
//
// # Records
//
// Keys are a letter and mostly an id, big-endian; values are the JSON as the cloud sent it
// (CONTRACT.md 6.4), but for those marked. The letters stand in records.go.
//
//	E   EdgeConfiguration, protobuf            @ scope id   attributes or latest telemetry of an entity, see attributes.go
//	S   salt [16] | sha256(salt, secret)       l from to hash   relation
//	Y   which sync has completed               n id   a device made here and not yet known to the cloud, see create.go
//	x id   of a user's credentials what a login needs      j id   a persistent call that waits, protobuf
//	g id   OTA package without its data, which is the file ota/ID
//	i key  a record that was changed here, see edits.go
//
// Memory holds the devices, the names of profiles and a key for each record; values are read from
// flash when they are asked for.
//
// # What is not kept
//
// Admin settings (mail passwords, the server's signing key), users who may not act here, tokens for
// activation and reset of a password, alarms that are over, data of entities that are not here, the
// server's notes of activity, and what registry.keep leaves out: all is acknowledged and counted.
//
// # Trust
//
// JSON is bounded in size and depth before it is decoded; what is malformed is acknowledged,
// counted and ignored. Entity JSON holds tokens and passwords: it never gets into a log or an
// error, and the files can be read by their owner only. Credentials are looked up by a digest keyed
// anew in each process and compared in constant time, so the time of a lookup tells nothing of
// those that are known.
package registry
