// Package registry holds what the cloud has provisioned for this edge: who the edge is, its devices, their credentials and
// their profiles. It survives power cuts, so that devices are served after a restart without a cloud.
//
// # Who calls what
//
// The loop's goroutine owns the registry: it alone calls Apply, Flush, the Sync and the Edge methods. The doors look devices up
// (ByToken, ByID, Each, Devices) from any goroutine; a lookup takes a read lock and allocates nothing.
//
//	DownlinkMsg ──Apply──▶ staged changes ──Flush (one write, one fsync)──▶ wal.Store, file "store"
//	                └────▶ devices and token index in memory ◀── ByToken, ByID, Each
//
// A lookup sees a change as soon as it is applied; the cloud hears of it when it is durable. Applying is idempotent, and what is
// stored already is not written again, because every connect brings a sync with the same content.
//
// # Records
//
// Keys are a letter and mostly an id, big-endian; values are the JSON as the cloud sent it (wire contract 6.4), except for those of E, S and Y.
//
//	E         EdgeConfiguration, protobuf         d id   device
//	S         salt [16] | sha256(salt, secret)    c id   credentials, by the id of their device
//	Y         1, once a sync has completed        p id   device profile
//
// Further kinds of entities take further letters.
//
// # Trust
//
// JSON is bounded in size and depth before it is decoded; what is malformed is acknowledged, counted and ignored. Entity JSON holds tokens
// and passwords: it never gets into a log or an error, and the files can be read by their owner only. Tokens are looked up by a
// digest keyed anew in each process, so the time of a lookup tells nothing of the tokens that are known.
package registry
