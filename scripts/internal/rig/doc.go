// Package rig sets up what the demo and the benchmarks run against: the two programs built from this tree, the cloud in a box as a
// process, and the agent as a process with a real configuration file.
//
//	rig.Build ──> edgesync, cloud (binaries in a temporary directory)
//	StartCloud ──> Cloud   gRPC address for the agent, control address for Series, Arrivals, Stats, Command
//	StartAgent ──> Agent   HTTP address for the stations, Status by `edgesync status --json`
//
// Everything here has a time limit: what does not come up within StartLimit is an error that names the log file.
// Each process ends with the context that it was started under, and on Linux also with its parent.
package rig
