// Fleetrun has many agents, a process each with a key of its own, use one cloud in a box, and shows
// what that costs the cloud and whether they come back together.
//
//	devices ──HTTP──> 200 × edgesync (processes) ──gRPC──> cloud in a box (a process)
//	   └── what was acknowledged, number by number ── compared ──┘
//
// Each agent has the settings that it has without a configuration file, but for its addresses and
// its key: the waits between attempts are those of a gateway in the field. One device posts to each
// agent all the time, also while the cloud is away and while the agent is dead.
//
//	start     all agents at once, each with its first full sync
//	calm      everybody is connected and posts
//	outage    the cloud cuts all connections and refuses new ones for a while
//	return    it is back
//	restart   kill -9 for all agents, and all started again as fast as this machine can
//	end       the devices stop; everything arrives; SIGTERM for all agents
//
// # What must hold
//
//   - Nobody is locked out: no key is refused, and within backLimit of the cloud's return, and of
//     the restart, every edge is connected.
//   - The attempts to connect are spread: in the minute from the cut on, and in the minute from the
//     return on, no second has more than spreadShare of that minute's attempts, and smallSecond.
//     After the restart this is only printed: the first attempt of an agent is made at once, and
//     how many agents a second this machine can start decides.
//   - Exactly what was acknowledged to a device is in the cloud, every number of it, and nothing
//     else. Each agent has accepted = deployed, and nothing pending, dropped, dead or damaged.
//   - Each agent ends with exit code 0.
//
// # Memory
//
// "own" is the part of the resident memory that nobody shares, and a process's part of what is
// shared (PSS): all agents run the same file, which a gateway has for itself alone. "resident" is
// what one gateway would need (RSS).
//
// # Files
//
//	main.go    flags, the directory
//	run.go     the course of a run
//	gateway.go an agent and its device
//	count.go   the attempts; what a phase has cost
package main
