// Package calls holds the calls that are under way, both ways: those of the cloud, of the REST API
// and of the edge itself to devices, and those of devices to the cloud.
//
//	cloud ──Take──>      ┌───────┐ <──Pending, Delivered, Answer── doors
//	cloud <──Next──      │ Table │ <──Request, Notify──────────── doors
//	       Reply <──     └───────┘ <──Call── REST API
//
// The loop moves calls between the table and the cloud; the doors, which speak with the devices,
// ask for what waits. Neither waits for the other: the lock of the table is private, held for a few
// map operations, and never while a callback runs.
//
// # Invariants
//
//   - A call is carried out at most once, and answered at most once. A message that comes twice,
//     because its acknowledgement was lost, is recognised by its request id among the calls that
//     wait and the last 256 that are over.
//   - A call that nobody answers ends 250 ms before its caller gives up, so that the caller hears
//     the reason.
//   - A persistent call, and later its answer in its place, is kept in the registry until the cloud
//     has acknowledged the answer; the answer is kept before it is sent (Table.Save), but for
//     TIMEOUT and NO_ACTIVE_CONNECTION, which are made here and can be made again.
//   - A device's own call is sent once. It does not go again over a new session: it might be
//     carried out twice.
//   - Everything is bounded, see BOUNDS.md: 16 calls, 64 notices and 512 KiB of them of a device,
//     1,024 calls and 2 MiB in all, 256 KiB a call, 256 calls of devices, 256 answers and 2 MiB of
//     them, 1 MiB an answer, 256 KiB an answer of the cloud. The oldest answer gives way.
//
// # Files
//
// table.go is the table; doors.go what the doors do; cloud.go what the loop does; local.go the
// calls made here; notice.go the notices to a gateway about its devices.
package calls
