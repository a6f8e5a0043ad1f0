// Bench measures what README.md claims, each figure beside a yardstick taken in the same run on
// the same machine, and says whether the bound that the project set itself is kept. Linux only: it
// reads /proc.
//
//	appends   wal.Queue in this process            against bare write+fdatasync of the same groups
//	allocs    BenchmarkLogToWire of ./sync         (go test -bench)
//	drain     agent and cloud in a box, processes  against a gRPC client, messages built first
//	flash     the agent's count and the kernel's   against the bytes that the log keeps
//	wire      a counting TCP proxy between them    against the payload before compression
//	memory    VmRSS and VmHWM of the agent         against a program with gRPC that does nothing
//	registry  the same with 5,000 devices          first sync, after it, restarted; checked
//	http      posts of 16 connections, and CPU     against bare write+fdatasync of groups of 16
//	mqtt      QoS 1 of 1 and 100 clients, and CPU  against mosquitto with persistence
//	start     exec to the first 200 over HTTP      against a run of `edgesync version`
//
// The events are those of ten made-up devices that post temperature, humidity and battery voltage,
// each a random walk with one or two decimals, once a second.
package main
