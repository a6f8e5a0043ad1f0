// Soak keeps honest devices busy while one attack after the other hits the agent, the cloud and the
// link between them, and checks at the end that nothing was lost and nothing has grown.
//
//	devices ──HTTP, MQTT──> edgesync (process) ──> link (proxy) ──gRPC──> cloud in a box
//	  └── journal of what was acknowledged            └── faults              ├── faults
//	                  └───────────── compared value by value ────────────────┘
//
// The seed decides the order of the attacks, how long each lasts and what the devices send; it is
// printed, and -seed repeats it (but for the moments, which the machine decides).
//
// # What must hold
//
//   - Every value that was acknowledged to a device is in the cloud, equal, and nothing is there
//     that was never sent. The last acknowledged value of each attribute is the cloud's. The last
//     shared attribute of each device has come down. An answer to a call is that of its call.
//   - No honest device is refused with its right token.
//   - accepted = deployed + pending + dropped + dead + damaged, at each quiet point, with pending
//     and dead 0 there, dropped and damaged 0 always, and accepted not below what was acknowledged.
//   - A new reading is in the cloud at most backLimit after each attack: the column "back".
//   - The agent's memory (VmHWM of each life) stays under memoryLimit.
//   - At each quiet point the agent has no more descriptors, and where its life ends there no more
//     goroutines, than at the first, but for slackFiles and slackGoroutines. The honest devices are
//     connected then, and send nothing. Goroutines are counted in what Go prints at SIGQUIT.
//   - When the edge is made anew in the cloud, exactly what waited for the former one is kept
//     apart, and dead retry --by-name brings all of it to the new devices.
//   - The agent ends when the soak ends it, and never else.
//   - With -latency, 99 of 100 honest posts are acknowledged within that time.
//
// With -memory 32MiB the agent runs in a memory cgroup of that size, which counts the pages of its
// program and files too, as on a machine that has no more: the kernel must never end it there. Each
// line then says how much of it was used, how often the bound was met, and how many pages the agent
// had to read from its files anew. The program lies on a file system of its own there, of which no
// more is read ahead than of a router's flash.
//
// With -each every attack comes once, short, in the table's order, behind ten seconds without one;
// make soak-memory does that in 20 MiB and 32 MiB (scripts/bench/README.md has what came of it).
//
// # How long a post takes
//
// From the first attempt to the acknowledgement, refused and repeated attempts included. A post
// that falls into a time in which the soak itself holds the agent is counted apart ("held") and
// left out: from kill -9, SIGTERM, SIGSTOP until the agent listens again (or goes on), and while
// the store of the registry is gone, until the agent knows its devices again. That time is the
// attack's own figure.
//
// # Files
//
//	main.go, report.go      flags, the course of a run, the table
//	cgroup.go               the bound on the agent's memory
//	soak.go, life.go        cloud, agent and their lives; quiet points; what is checked there
//	devices.go, mqtt.go     honest traffic
//	journal.go, latency.go  what was acknowledged, and how soon
//	link.go                 the network
//	attacks.go, edges.go    the table of attacks, and those of cloud and link
//	abuse.go, damage.go     those of clients; those on processes and files
package main
