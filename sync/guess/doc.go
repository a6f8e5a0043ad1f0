// Package guess slows down those who guess secrets: access tokens, the fields of an MQTT CONNECT,
// provisioning secrets, passwords. It owns the counts by address and the memory of what was right.
//
//	Begin ── right lately from this address ──────────────────────────▶ judged at once
//	  │ else one of the Burst attempts of the address ────────────────▶ judged at once, given back
//	  │                                                                 if it was right
//	  │ else one of the few that may wait ── Delay ───────────────────▶ judged late
//	  ▼ else ErrTooMany: not judged at all
//
// # Invariants
//
//   - Beyond Burst, an attempt is judged after its delay or not at all, so that nobody learns
//     from an address more than Burst + elapsed/Every answers at once and OfAddress answers a
//     Delay.
//   - A secret that was right lately from an address is judged at once when it comes from there
//     again, whoever guesses, from wherever. The price is that who shares an address with a device
//     can try the secrets of that device, and of no other, without a delay.
//   - One host of IPv6 has 2^64 addresses, so the first 64 bits count.
//   - Attempts that wait take nothing but a place among Waiting.
//   - Secrets are kept as keyed 64-bit hashes in memory, never on a medium. The key is of the
//     process.
//
// # Bounds
//
//	counts    1,024 addresses, 128 KiB; all others share one count
//	memory    8,192 secrets, 256 KiB, 4 of one owner; the oldest of its set of 8 gives way
//	waiting   32 attempts, 4 of one address; others get ErrTooMany
package guess
