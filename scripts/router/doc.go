// Router cuts the power of a router: a machine in an emulator (Debian's kernel for mipsel, 24Kc,
// 128 MB), with three flashes, on each of which an agent runs.
//
//	devices ──HTTP──> edgesync on overlay over JFFS2 ─┐
//	   │        ├───> edgesync on UBIFS ──────────────┼──gRPC──> cloud in a box
//	   │        └───> edgesync on F2FS ───────────────┘
//	   └── what was acknowledged  ────────── compared ──────────────┘
//
// A cut kills the emulator. What the machine had in its memory is gone, its caches too; what had
// reached a flash is there when it begins anew. JFFS2 and UBIFS write to memory of the machine that
// is a file here, as to NOR flash; F2FS to a block device that is a file here.
//
// # What must hold
//
//   - Every event that was acknowledged is in the cloud, equal, and nothing that was never sent.
//   - After each cut every agent comes back by itself, on its file system as it was left.
//   - With the cloud gone and the flashes full of events, devices are refused with 503, and raw
//     flash keeps free what it is to keep. After cuts then, and the cloud's return, everything that
//     was accepted arrives, and events are taken again.
//
// It prints how long machine and agents take to begin, their memory, and commits a second.
//
// # Files
//
//	prepare      kernel, modules, busybox, images
//	init         what runs in the machine
//	machine.go   the emulator
//	main.go      devices, cuts, and the comparison
//	report.go    what it measured, and what is missing
package main
