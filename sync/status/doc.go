// Package status is what people look at: the page, its JSON, the metrics and health checks,
// `edgesync status`.
//
// It owns no state. The agent hands it a function that returns a sync.Snapshot, and every door
// shows that same snapshot:
//
//	            ┌── GET /                  page.html, asks the JSON every two seconds
//	            ├── GET /api/edge/status   the snapshot and its Health, as JSON
//	            ├── GET /api/edge/events   what is on flash at some offsets, decoded for the question, as JSON
//	snapshot ───┼── GET /metrics           Prometheus text
//	            ├── GET /healthz           200 while the loop turns and the queue can be written
//	            ├── GET /readyz            200 when devices can be served
//	            └── data_dir/agent.sock    one JSON object to whoever connects ── Fetch ── `edgesync status`
//	dead letters ────── data_dir/agent.sock    to whoever connects and sends a line: Request, Answer ── `edgesync dead`
//
// Without an agent Fetch reads the files of queue and dead letters and says so (running = false).
//
// Rules: nothing that is served on a port can change the agent; what agent.sock (0600) can change
// is what Dead offers; nothing here waits for the cloud; no answer holds a secret (a snapshot has
// none, and last_error was redacted by who wrote it); text from the cloud reaches a terminal or a
// page only as text. Judge says in one sentence what is wrong, by the specification's "Health
// Indicators", the same on page and terminal.
package status
