package disk

// Meter takes into account what was written: so many bytes at a position of a file, and so many
// fsyncs of it and of its directory. A nil Meter counts nothing. It may be called from any
// goroutine, while locks of the caller are held.
type Meter func(at, bytes int64, fsyncs int)

// Add calls the meter, if there is one.
func (m Meter) Add(at, bytes int64, fsyncs int) {
	if m != nil {
		m(at, bytes, fsyncs)
	}
}
