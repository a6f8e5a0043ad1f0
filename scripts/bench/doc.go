// Bench measures the figures of scripts/bench/README.md. It prints each figure beside a yardstick
// of the same run on the same machine, and says whether the figure keeps the bound that the project
// set. It runs on Linux only, because it reads /proc. Progress goes to standard error.
//
//	appends   wal.Queue in this process          against write+fdatasync of the same groups
//	allocs    BenchmarkLogToWire of ./sync       (go test -bench)
//	drain     agent and cloud, processes         against a gRPC client with prebuilt messages
//	flash     the agent's and the kernel's count against the bytes that the log keeps
//	wire      a counting TCP proxy between them  against the payload before compression
//	memory    VmRSS and VmHWM of the agent       against a program with gRPC and HTTP, idle
//	registry  memory with 5,000 devices          first sync, after it, restarted; attributes
//	aggregate one-minute windows of 1,000 devices against the same values pushed as they come
//	http      posts of 16 connections, and CPU   against a loop of write+fdatasync
//	mqtt      QoS 1 of 1 and 100 clients, CPU    against mosquitto with persistence
//	rules     the rule engine's benchmarks       against the same without rules; posts, too
//	start     exec to the first 200 over HTTP    against a run of `edgesync version`
//
// # Files
//
//	main.go      what is measured, in which order; table.go the lines and their bounds
//	agent.go     idle, drain, wire, memory and start of the agent; registry.go many
//	             devices; aggregate.go windows of a rule chain
//	appends.go   the queue in this process; allocs.go the allocations of ./sync
//	load.go      posts in turns with a yardstick: http.go, mqtt.go; rules.go
//	bare.go      the bare gRPC client; events.go the devices; proc.go /proc; proxy.go bytes
//
// The events are those of ten invented devices that post temperature, humidity and battery voltage
// once a second, each a random walk with one or two decimals.
package main
