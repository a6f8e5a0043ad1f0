// Package store is a small durable map from byte strings to byte strings: an append-only file of
// checksummed batches. Keys are in memory, values are read from the file.
//
// The registry keeps its entities in one, and the dead letters lie in another. The file system
// needs to do no more than append, truncate and rename, because stores that map their file into
// memory fail on JFFS2.
//
// # File
//
//	file    header frame*
//	header  twice: "edgstor1" | marker [8] | crc32c of both, u32
//	frame   marker [8] | length u32 | crc32c of position and length, u32 |
//	        crc32c of position and ops, u32 | ops
//	put     1 | len(key) uvarint | len(value) uvarint | key | value | crc32c of key and value, u32
//	delete  2 | len(key) uvarint | key
//
// ops are puts and deletes, one behind the other. Integers of fixed size are little-endian. The
// marker is random, so that no value can imitate a frame. position is the offset of the frame in
// the file, u64.
//
// # Invariants
//
//   - A frame is a batch. It counts as a whole or not at all.
//   - Apply returns nil after the fsync of the batch. After an error nothing of it is there, and
//     what the write left is cut before the next batch.
//   - Opening never fails for damaged content: what follows the last intact frame is cut, damage
//     before it is passed over, both are kept in Options.CorruptDir and logged.
//   - When more than half of the file, and more than 64 KiB, is garbage, the living pairs are
//     written to NAME.new, which takes the name. No batch is accepted before the new name is
//     durable.
//   - Compactions write no more than the batches have: what one writes is less than the garbage
//     that it leaves behind, and each byte of a batch becomes garbage once. Those that fail write
//     twice that at most, because the next one waits until the file has grown by half of what is
//     alive.
//   - Options.Meter gets all that is written, what failed and was cut again too.
//   - Memory grows with the number of keys, bounded by whoever puts them; batches are bounded by
//     MaxBatch.
//
// # Files
//
// store.go is what callers use, format.go the bytes, repair.go the way in, compact.go the
// rewriting.
package store
