package wal

import (
	"slices"

	"edgesync/wal/store"
)

// DeadClass is why a dead letter is one, as far as the bound is concerned: the classes share the
// room of a DeadLog so that a storm of one pushes out none of another.
type DeadClass uint8

// The classes.
const (
	DeadRefused  DeadClass = iota // the cloud refused it, and may take it another time
	DeadNever                     // can never be sent: it is kept for people
	DeadCreation                  // a creation that was refused, and what waits behind it
	deadClasses
)

// String is the class in words.
func (c DeadClass) String() string {
	return [...]string{"refused", "never sent", "creation"}[c%deadClasses]
}

// Shares of a DeadLog, in sixteenths of its bytes and of MaxDeadLetters. Below its share a class
// loses nothing to DeadRefused or DeadCreation. Those two may use what others leave, and give it
// back when others need it. DeadNever never has more than its share, and gives way first.
const (
	deadParts         = 16
	DeadNeverParts    = 1
	DeadRefusedParts  = 7
	DeadCreationParts = 8
)

var deadShares = [deadClasses]int64{
	DeadRefused: DeadRefusedParts, DeadNever: DeadNeverParts, DeadCreation: DeadCreationParts,
}

// DeadShare is what the dead letters of one class take.
type DeadShare struct {
	Letters int
	Bytes   int64
}

// within reports whether the share is within so many sixteenths of the bound.
func (s DeadShare) within(parts, maxBytes int64) bool {
	return s.Bytes <= maxBytes*parts/deadParts && int64(s.Letters) <= MaxDeadLetters*parts/deadParts
}

// deadUse is what the dead letters of each class take.
type deadUse [deadClasses]DeadShare

func (u *deadUse) add(e *deadEntry) {
	u[e.class].Letters++
	u[e.class].Bytes += int64(e.size)
}

func (u *deadUse) remove(e *deadEntry) {
	u[e.class].Letters--
	u[e.class].Bytes -= int64(e.size)
}

func (u *deadUse) sum() (s DeadShare) {
	for _, c := range u {
		s.Letters += c.Letters
		s.Bytes += c.Bytes
	}
	return s
}

// overflow lists the dead letters that must go when each class takes what u says: those that can
// never be sent, and then those of a class that is beyond its share. Of a class the oldest that
// rest go first, then the oldest, then the pinned ones. Those at the offsets of spare, in order,
// are not among them. Not ok: what would be left is still beyond the bound.
func (d *DeadLog) overflow(u deadUse, spare []uint64) (gone []deadEntry, ok bool) {
	give := func(class DeadClass, enough func() bool) {
		for worth := 0; worth < 3 && !enough(); worth++ {
			for i := 0; i < len(d.letters) && !enough(); i++ {
				e := d.letters[i]
				if e.class != class || e.worth() != worth {
					continue
				}
				if _, spared := slices.BinarySearch(spare, e.offset); spared {
					continue
				}
				gone = append(gone, e)
				u.remove(&e)
			}
		}
	}
	fits := func() bool { return u.sum().within(deadParts, d.maxBytes) }
	give(DeadNever, func() bool { return u[DeadNever].within(DeadNeverParts, d.maxBytes) })
	if !u[DeadNever].within(DeadNeverParts, d.maxBytes) {
		return nil, false
	}
	give(DeadNever, fits)
	for _, class := range [...]DeadClass{DeadRefused, DeadCreation} {
		give(class, func() bool { return fits() || u[class].within(deadShares[class], d.maxBytes) })
	}
	return gone, fits()
}

// DeadRoom is what the dead letters of a class may take in a log of maxBytes (0 = 16 MiB) without
// using what is there for others.
func DeadRoom(class DeadClass, maxBytes int64) DeadShare {
	if maxBytes <= 0 {
		maxBytes = deadDefault
	}
	parts := deadShares[class%deadClasses]
	return DeadShare{Letters: int(MaxDeadLetters * parts / deadParts), Bytes: maxBytes * parts / deadParts}
}

// DeadSize is the bytes that a dead letter takes of the bound, with a fragment and a reason of so
// many bytes.
func DeadSize(fragment, reason int) int64 { return store.PutSize(8, deadFixed+fragment+reason) }
