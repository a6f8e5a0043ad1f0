// Package cli is the command line of edgesync: its commands, flags and exit codes, and the assembly
// of all packages into one running agent.
//
//	main ─> Main ─> program.run ─┬─> run             agent.go, ports.go, memory.go: until a signal
//	                             ├─> check           check.go: what is configured, and from where
//	                             ├─> doctor          doctor.go, package doctor: what is wrong
//	                             ├─> status          package status asks the running agent
//	                             ├─> devices         devices.go: package status asks, or the files
//	                             ├─> wal ...         wal.go, stat.go, dump.go, verify.go
//	                             ├─> dead ...        dead.go, dead_show.go, dead_former.go
//	                             ├─> reconnect, sync, log   control.go: orders to the agent
//	                             ├─> replay, audit   replay.go, audit.go, audit_verify.go
//	                             ├─> rules ...       rules.go, rules_eval.go: tries chains
//	                             ├─> setup           setup.go: asks, tests, writes, enables
//	                             ├─> backup, restore, reset   state.go: data_dir as a whole
//	                             ├─> bugreport       bundle.go: all of it in one file
//	                             └─> version, completion, help   each in its file
//
// What a command takes and does stands in one table, pages.go, from which help and completion are
// made.
//
// # The surface
//
// People write scripts against the commands, their flags, their JSON and their exit codes, so these
// do not change: 0 fine, 1 failed, 2 wrong usage, 75 another agent holds the data directory, 78
// wrong configuration. Text for people goes to stdout, errors and logs go to stderr (but see
// log.target, in log.go). A flag takes its value behind "=" or as the next argument (flags.go). An
// argument that no command expects is named by its number and never repeated in a message: it may
// be a secret.
//
// # Assembly
//
// The agent is built in a fixed order, and closed in the reverse order, but that the ports close
// before the loop ends:
//
//	lock on data_dir ─> medium, clock ─> queue ─> dead letters ─> former, overflow ─> registry
//	                ─> history of the link, record of the last day
//	                ─> loop, doors, REST ─> MQTT listeners ─> HTTP listener ─> agent.sock
//	                ─> HTTP is served ─> the loop runs
//
// When all is open the service manager hears that the agent serves (package notify), as long as the
// loop turns that it lives, and at the end that it stops.
//
// The lock comes before every port, so that a second agent fails before it takes one. The ports
// close before the queue does, so that every event whose device was answered "accepted" is on flash
// when the lock is released. At the end a clean stop has stopLimit; then the process exits anyway.
//
// # Beside a running agent
//
// status, devices, dead and wal work with and without an agent. They ask agent.sock first; without
// an agent they read the files. What changes files (wal repair; dead retry and drop without an
// agent; restore and reset) takes the lock of the data directory first. backup has the agent hold
// still for the moment in which it opens the files (package backup).
package cli
