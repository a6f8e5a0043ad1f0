// Package status is what people look at: the page, its JSON, the metrics, the health checks,
// `edgesync status` and `edgesync devices`; and the socket by which the commands ask the agent.
//
// The package owns no state. The agent hands it a function that returns a sync.Snapshot, and every
// door shows that same snapshot:
//
//	         ┌── GET /                      page.html, asks the JSON every two seconds
//	         ├── GET /api/edgesync/status   the snapshot and its Health, as JSON
//	         ├── GET /api/edgesync/events   what is on flash at some offsets, decoded, as JSON
//	         ├── GET /api/edgesync/devices  when each was seen, over what, what was refused
//	minutes ─┼── GET /api/edgesync/history  the last day, minute by minute, as JSON
//	snapshot ┼── GET /metrics               Prometheus text
//	         ├── GET /healthz               200 while the loop turns and the queue can be written
//	         ├── GET /readyz                200 when devices can be served
//	         └── data_dir/agent.sock        one JSON object to whoever connects: Fetch
//	dead letters, devices ── data_dir/agent.sock    to whoever sends a line: Request, Answer
//
// Without an agent Fetch reads the files of the queue and of the dead letters, and says so (running
// = false).
//
// # Formats
//
// The JSON of /api/edgesync/status is a Report, of …/events an EventList, of …/devices a
// DeviceList; the first two answer below /api/edge/ too. A client of agent.sock sends nothing and
// gets a Snapshot, or sends one Request as a line of JSON and gets an Answer. The names in all of
// them are read by scripts and stay.
//
// # Invariants
//
//   - What is served on a port cannot change the agent. What agent.sock (mode 0600) can change is
//     what Dead offers. So can its stand-in where the file system has no sockets, an abstract one:
//     both ends ask the kernel who the other one is.
//   - Nothing here waits for the cloud; every read and write has a time limit and a bound in bytes.
//   - No answer holds a secret: a snapshot has none, last_error was redacted by who wrote it, and
//     secrets in events are masked.
//   - Text from the cloud reaches a terminal or a page as text only (package plain), and has at
//     most 1 KiB in a snapshot that leaves the agent.
//   - Contents of events, and values of devices, are shown to who asks this machine
//     for this machine: from loopback, with a Host of loopback and without the headers of a proxy
//     (local.go).
//   - Judge says in one sentence what is wrong, a pure function of the snapshot: the same on page,
//     terminal and in JSON. A terminal shows it in the second line, whatever its size.
//
// # Files
//
// handler.go serves the paths, events.go the page of events, devices.go that of devices, and
// local.go says who sees contents; metrics.go has the metrics, health.go judges, headline.go words
// it; sock.go and request.go are the agent's end of agent.sock, fetch.go is the client's; text.go,
// wrap.go and show.go print for a terminal.
package status
