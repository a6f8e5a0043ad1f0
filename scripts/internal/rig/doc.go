// Package rig starts the processes of the demo and of the benchmarks: the cloud in a box, and the
// agent with a real configuration file, both built from this tree.
//
//	rig.Build ──> edgesync, cloud (binaries in a temporary directory)
//	StartCloud ──> Cloud   gRPC address for the agent; Series, Arrivals, Stats, Command over HTTP
//	StartAgent ──> Agent   HTTP address for the stations, Status by `edgesync status --json`
//
// Every wait has a limit: a process that does not come up within StartLimit is an error that names
// the log file. Each process ends with the context under which it was started, and on Linux also
// with its parent.
package rig
