// Package refusal keeps the traces of what the doors refuse, so that a person can tell why a device
// does not work: by a counter for each door and reason, by the devices and addresses that were
// refused last, and by warnings.
//
// # Warnings
//
// A warning names who was refused, why, and how often since the last warning: "192.168.1.20 was
// refused: unknown token, 12 times since 14:02". The same device or address and reason has one
// warning in Every, so that a noisy device fills no log. A reason has linesOfReason warnings in a
// minute; whoever finds none left has its warning when it is refused again in a later minute.
//
// # Bounds
//
// A Ledger remembers maxParties pairs of device and reason, and as many pairs of address and
// reason: a crowd of addresses takes no place from devices, which have shown who they are. Beyond
// that the pair that was refused longest ago is forgotten; the counters go on. A text is cut at
// maxWho, maxTopic or maxDetail bytes, and of what a party has shown the last maxMarks marks are
// kept, so that a pair takes less than 1 KiB and a Ledger less than 256 KiB.
//
// No secret enters here: callers pass the name of a device or its address, never what it has shown,
// of which there is at most a mark: 16 bits of a hash.
package refusal
