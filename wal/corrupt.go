package wal

// CorruptError is what was found damaged in a queue directory. Verify reports each damage as one,
// and Reader.Read returns one where the medium refuses to read a segment.
type CorruptError struct {
	Segment string // name of the file: a segment, "committed", or "" where several are concerned
	Offset  uint64 // first offset that is concerned; 0 = none can be named
	Err     error  // what is wrong and where, in words; wraps the medium's error if there is one
}

// Error is Err's text, which names the file.
func (e *CorruptError) Error() string { return e.Err.Error() }

// Unwrap is Err.
func (e *CorruptError) Unwrap() error { return e.Err }
