// Package status is what people look at: the page, its JSON, the metrics, the health checks,
// `edgesync status` and `edgesync devices`; and the socket by which the commands ask the agent.
//
// The package owns no state. The agent hands it a function that returns a sync.Snapshot, and every
// door shows that same snapshot:
//
//	            ┌── GET /, /page.css, /page.js    the page (page/), packed
//	            ├── GET /api/edgesync/live        Reports, as server-sent events
//	            ├── GET /api/edgesync/status      the snapshot and its Health: a Report
//	            ├── GET /api/edgesync/events      what is on flash at some offsets: an EventList
//	            ├── GET /api/edgesync/search      events that match, the newest first: Found
//	            ├── GET /api/edgesync/devices     when each was seen, over what, what was refused
//	            ├── GET /api/edgesync/dead        dead letters: a DeadList
//	            ├── GET /api/edgesync/log         the last lines of the log, for administrators
//	            ├── GET /api/edgesync/bugreport   all of it in one file, for administrators
//	            ├── GET /api/edgesync/me          what who asks may do: Me
//	minutes ────┼── GET /api/edgesync/history     the last day, minute by minute
//	snapshot ───┼── GET /metrics                  Prometheus text
//	            ├── GET /healthz                  200 while loop and queue work
//	            ├── GET /readyz                   200 when devices can be served
//	            └── data_dir/agent.sock           the snapshot, to whoever connects: Fetch
//	dead letters ┬─ data_dir/agent.sock           to who sends a line: Request, Answer
//	             └─ POST /api/edgesync/do         the same, for administrators
//
// /api/edge/status and /api/edge/events are older names of the two.
//
// Without an agent Fetch reads the files of the queue and of the dead letters, and says so (running
// = false).
//
// # Formats
//
// All of it is JSON. A client of agent.sock sends nothing and gets a Snapshot, or sends one Request
// as a line of JSON and gets an Answer. The names are read by scripts and stay.
//
// What stands in page/ is what the page is made of. It goes over the wire, and into the program,
// without its comments and packed; `make page` packs it. Views and filters are in the page's hash,
// so each is a link. The page keeps a user's token for its tab, and sends it in a header.
//
// # Invariants
//
//   - What is served on a port cannot change the agent, but for POST /api/edgesync/do: it is for a
//     tenant administrator who is logged in and for who asks on this machine, and never comes from
//     the page of somebody else (ours). What agent.sock (mode 0600) can change is what Dead and
//     Control offer. So can its stand-in where the file system has no sockets, an abstract one:
//     both ends ask the kernel who the other one is.
//   - Nothing here waits for the cloud; every read and write has a time limit and a bound in bytes.
//   - No answer holds a secret: a snapshot has none, last_error was redacted by who wrote it, and
//     secrets in events are masked.
//   - Text from the cloud reaches a terminal or a page as text only (package plain), and has at
//     most 1 KiB in a snapshot that leaves the agent.
//   - Contents of events, and values of devices, are shown to who asks this machine for
//     this machine: from loopback, with a Host of loopback and without the headers of a
//     proxy (local.go); and to users of the cloud who are logged in (viewer.go), over HTTPS
//     where there is HTTPS, else from private addresses only. A user of a customer sees
//     what is the customer's. All others see state and figures.
//   - A stream that is not read is cut off; streams are few, and share one text (live.go).
//   - Judge says in one sentence what is wrong, a pure function of the snapshot: the same on page,
//     terminal and in JSON. A terminal shows it in the second line, whatever its size.
//
// # Files
//
// handler.go serves the paths, page.go the page, live.go its stream; events.go and search.go show
// events, devices.go devices, deadlist.go dead letters, diagnosis.go the log; local.go and
// viewer.go say who sees contents and who may order; metrics.go has the metrics, health.go judges,
// headline.go words it; sock.go, request.go and control.go are the agent's end of agent.sock,
// fetch.go is the client's; text.go, wrap.go and show.go print for a terminal.
package status
