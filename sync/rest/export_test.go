package rest

// Bytes is about what the latest values take.
func (l *Latest) Bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}
