// Package registry holds what the cloud has provisioned for this edge: who the edge is, its devices
// with credentials and profiles, attributes, and all other entities. It survives power cuts, so
// that devices are served after a restart without a cloud.
//
//	DownlinkMsg ──Apply──▶ staged changes ──Flush (one write, one fsync)──▶ store.Store, DIR/store
//	   │                      ▲  ▲  ▲
//	   │      Posted          │  │  └─ Edit, SaveAttributes, …: changes of people, over REST
//	   │      (by devices) ───┘  └──── Prepare, (queue), Adopt: devices made here
//	   ├────▶ devices and indexes in memory ◀── ByToken, ByMQTT, ByName, … (a read lock)
//	   └────▶ notices, in the order of the changes ──▶ Watcher: what live sessions must follow
//
// # Who calls what
//
// Any goroutine may call any method. Whoever changes something holds the write lock, mostly the
// loop's goroutine; a lookup takes a read lock only and sees a change as soon as it is applied. The
// cloud hears of a change when it is durable. The watcher hears of changes in the order in which
// they were stored (watch.go; Watcher says what it may call).
//
// Locks in the order in which they are taken: write, mu, and unheard.mu, the lock of the queue of
// notices (watch.go). None is held while the watcher is called.
//
// # Records
//
// A record is a key and a value in the store. A key is a letter and mostly an id, big-endian; the
// letters (records.go) never change. A value is the JSON of the cloud (CONTRACT.md 6.4), but for
// these:
//
//	E               EdgeConfiguration, protobuf
//	S               salt [16] | sha256(salt, configured secret) [32]: edge.go
//	Y               which sync has completed: edge.go
//	W               the change to another edge that is being made: wipe.go
//	@ scope id name attributes of an entity, or its latest telemetry, from a name on; of the first
//	                record, and of most entities the only one, the name is empty:
//	                attribute_records.go
//	l from to hash  a relation; hash [8] is of its type, group and types of both ends: entities.go
//	x id            of a user's credentials what a login needs, JSON
//	n id            a device that was made here: create.go
//	j id            a persistent call, later its answer, protobuf: calls.go
//	g id            an OTA package without its data; the data is the file DIR/ota/ID: ota.go,
//	                ota_data.go
//	e id            the id under which the cloud has an alarm that was raised here: alarm_ids.go
//	M id            the metadata that a rule chain had before those that nobody has called good
//	                yet: chains.go
//	i key           that the record with this key was changed here: edits.go
//
// Memory holds the devices, the profiles and a key for each record; values are read from flash when
// they are asked for.
//
// A change writes the records that it changes, and nothing else: of attributes some 1 KiB, however
// many the entity has. Compactions of the store double that at most (package store).
//
// # Invariants
//
//   - The records between which an attribute moves are staged and written together.
//   - Applying is idempotent, and what is stored already is not written again: every connect
//     brings a sync with the same content.
//   - A change of the edge is durable before anything of the former one is removed, and goes on at
//     the next opening (wipe.go). Devices made here that the former edge did not accept stay.
//   - The server's sync never says what is gone (CONTRACT.md 3.5). So at the end
//     of a sync the registry removes what the sync did not bring, but for what was made or changed
//     here and the cloud cannot know yet.
//   - What was changed here wins over what the cloud sends until the cloud has acknowledged it.
//   - An alarm that was raised here and in the cloud is one alarm from when the cloud's comes down,
//     under the cloud's id.
//   - The shared attributes that announce an assigned package are set here, from the package
//     (assigned.go). While it is here, what the cloud sends of them does not count.
//   - A pending creation is on flash and found by no lookup until its event is in the queue.
//   - Records, bytes, staged changes, kept calls and notices are bounded: registry.go, room.go,
//     watch.go. What goes beyond is acknowledged, counted and not kept.
//   - What the cloud says of credentials takes effect, also where it cannot be stored: credentials,
//     users and profiles have a reserve, and beyond it the old record is removed, so that a restart
//     does not bring it back. While the medium refuses to be written the change counts in memory,
//     and its message is not acknowledged.
//
// # What is not kept
//
// Admin settings (mail passwords, the server's signing key), users who may not act here, tokens for
// activation and reset of a password, alarms that are over, data of entities that are not here, the
// server's notes of activity, and what registry.keep leaves out: all is acknowledged and counted.
//
// # Trust
//
// JSON is bounded in size and depth before it is decoded. What is malformed is acknowledged,
// counted and ignored. Entity JSON holds tokens and passwords: it never gets into a log or an
// error, and the files can be read by their owner only. Credentials are looked up by a digest keyed
// anew in each process, and secrets are compared in constant time, so that the time of a lookup
// says nothing of the credentials that are known.
package registry
