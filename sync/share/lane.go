package share

// Lane lets one piece of work at a time pass, of those that take megabytes while they last. A nil
// Lane lets everything pass. Its methods may be called from many goroutines.
type Lane chan struct{}

// NewLane returns a lane that is free.
func NewLane() Lane { return make(Lane, 1) }

// Enter waits until the lane is free, and takes it. False: done was closed first.
func (l Lane) Enter(done <-chan struct{}) bool {
	if l == nil {
		return true
	}
	select {
	case l <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// Leave frees the lane. The caller has entered it.
func (l Lane) Leave() {
	if l != nil {
		<-l
	}
}
