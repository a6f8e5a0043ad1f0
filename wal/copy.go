package wal

import (
	"reflect"

	tlog "github.com/tidwall/wal"
)

// The library keeps a copy of the tail in memory, and lets append make room in it by a quarter at a time: over a segment that allocates five
// times the segment, which is most of all that a commit allocates, and with many writers they wait for the collector (256 of them on two
// cores: 0.91 of the bare medium, and 1.00 without). Its API takes no capacity, so the copy gets it by reflection: room for a whole segment,
// once it is clear that there is one to come. Nothing that the library has in it changes. Where a later version has no such fields, nothing is done;
// a test tells then.
const (
	copyShare = 32      // of a segment is in the copy before it gets room for all
	copySlack = 4 << 10 // bytes that the last frame of a segment usually stays below
)

// roomyCopy gives the library's copy of the tail room for the rest of a segment, and its list of frames for as many as go on like those before.
func roomyCopy(l *tlog.Log, segment int) {
	frames, positions, ok := tailCopy(l)
	if !ok {
		return
	}
	n := len(*frames)
	if n < segment/copyShare || n >= segment {
		return
	}
	if room := segment + copySlack; cap(*frames) < room {
		*frames = append(make([]byte, 0, room), *frames...) // slices.Grow would touch all of it
	}
	if room := int(int64(positions.Len()) * int64(segment) / int64(n)); positions.Cap() < room {
		positions.Grow(room - positions.Len())
	}
}

// tailCopy is the library's copy of the tail, and its list of where the frames are in it.
func tailCopy(l *tlog.Log) (frames *[]byte, positions reflect.Value, ok bool) {
	segments, ok := sliceField(reflect.ValueOf(l), "segments")
	if !ok || segments.Len() == 0 {
		return nil, positions, false
	}
	tail := segments.Index(segments.Len() - 1)
	ebuf, ok := sliceField(tail, "ebuf")
	positions, also := sliceField(tail, "epos")
	if !ok || !also {
		return nil, positions, false
	}
	frames, ok = ebuf.Addr().Interface().(*[]byte)
	return frames, positions, ok
}

// sliceField is the field of a struct that v points to, if there is one of that name that is a slice.
func sliceField(v reflect.Value, name string) (reflect.Value, bool) {
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return v, false
	}
	f := v.Elem().FieldByName(name)
	if f.Kind() != reflect.Slice {
		return v, false
	}
	return reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem(), true
}
