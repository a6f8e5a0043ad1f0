// Package rig holds what the tests of the agent's packages set up again and again. Only tests use
// it, and the demo and the benchmarks for [Process].
//
//	Log         what was logged, to be searched
//	Watcher     what the registry reported to the doors
//	Data        a data directory, opened: queue, dead letters, registry
//	Link        the network between an agent and a cloud in a box, in memory, with faults
//	Go          a loop in a goroutine, ended by a function
//	Process     a program that is killed and stopped
//	Eventually  waits for a condition that another process brings about
//
// A test in a bubble puts them together so:
//
//	cloudtest.Cloud ──Serve──> link <──Dial── agent, run by Go
//	                                            ^ sync.Deps: Data's three, Log.Logger()
//
// # What is not here
//
// The agent itself: the package does not import sync, so that the tests inside package sync can use
// it. Each of them makes its agent in a few lines, because each gives it something else. The tests
// inside the packages that are imported here (wal, registry, cloudtest) cannot use it either.
package rig
