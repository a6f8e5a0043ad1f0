package wal

// Hold calls fn while nothing is written to the queue's files. Appends wait for it, so fn is quick.
// fn must not call the queue.
func (q *Queue) Hold(fn func()) {
	q.own.Lock()
	defer q.own.Unlock()
	fn()
	poke(q.kick) // who came meanwhile found the queue busy
}
