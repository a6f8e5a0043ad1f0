// Package complaint limits the warnings of a process that runs for months: a cloud that is away for
// a week, or a device that sends nonsense every second, fills no log.
//
// A warning has a kind (what is wrong, a constant text), a subject (with whom: a device, an
// address; "" for the process itself) and a reason. The first warning of a kind and subject is
// logged at once. A repetition is logged when its reason is another, or when the interval has
// passed since the last line, together with the number of warnings that were left out between.
//
// The lines are bounded, whatever a hostile sender does. Of one kind at most linesOfKind are
// written in an interval, and of one subject at most linesOfSubject of these; linesAgain in all are
// for subjects that had one already, so that subjects whose reasons change each time leave lines
// for the others. What exceeds linesOfKind, such as a thousand subjects at once, is counted, and
// the next line of the kind says how many.
//
// The memory is bounded: beyond maxKept pairs of kind and subject the pair whose last line is
// oldest is forgotten; beyond maxKinds kinds the kind whose interval is oldest.
package complaint
