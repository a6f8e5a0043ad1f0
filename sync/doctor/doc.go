// Package doctor looks at everything that an agent needs, from its configuration to the cloud's
// answer, and says of each what was found and what to do.
//
//	configuration ─> data_dir ─> ports ─> memory      this machine: machine.go, ports.go
//	proxy ─> dns ─> tcp ─> tls ─> http2 ─> clock      the way to the cloud: way.go
//	key ─> server ─> bandwidth ─> other agent ─> sync  a session with it: session.go
//
// Each is a Check, which is handed over as soon as it is known. A check whose ground is missing is
// left open, and says so.
//
// # Invariants
//
//   - Nothing is changed but a file of some kilobytes in data_dir, which is gone afterwards.
//   - An agent that runs on the data directory keeps its session: the cloud would end that for the
//     sake of a second one with the same key (CONTRACT.md 2.6). Its own state is shown instead.
//   - Every wait has a bound; all together take less than a minute, and what
//     Options.Silence is longer than 8 s.
//   - No secret stands in a Check.
package doctor
