package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/wal"
)

// walStats is the JSON of wal stat. A field once published keeps its name and meaning; fields that
// status has too have the same meaning there.
type walStats struct {
	Dir           string        `json:"dir"`
	First         uint64        `json:"first"` // offset
	Committed     uint64        `json:"committed"`
	Last          uint64        `json:"last"`
	Segments      int           `json:"segments"`
	Bytes         int64         `json:"bytes"`
	Accepted      uint64        `json:"accepted"`
	Deployed      uint64        `json:"deployed"`
	Pending       uint64        `json:"pending"`
	Dropped       uint64        `json:"dropped"`
	Dead          uint64        `json:"dead"`
	Damaged       uint64        `json:"damaged"`
	Balanced      bool          `json:"balanced"` // accepted = deployed + pending + dropped + dead + damaged
	OldestPending *time.Time    `json:"oldest_pending"`
	NewestPending *time.Time    `json:"newest_pending"`
	List          []walFileStat `json:"segment_list,omitempty"`
}

type walFileStat struct {
	File  string     `json:"file"`
	First uint64     `json:"first"`
	Bytes int64      `json:"bytes"`
	Begun *time.Time `json:"begun"`
}

// moment is a time in milliseconds as JSON wants it; nil for a time that is not known.
func moment(ms int64) *time.Time {
	if _, undated := proto.Uptime(ms); undated || ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

func showMoment(t *time.Time) string {
	if t == nil {
		return "unknown"
	}
	return t.Format(stamp)
}

// stat registers the flags of wal stat and returns the command.
func (t *tool) stat() func() error {
	t.flags.BoolVar(&t.json, "json", false, "")
	segments := t.flags.Bool("segments", false, "")
	return func() error {
		s, err := t.readStats(*segments)
		if err != nil {
			return err
		}
		if t.json {
			return json.NewEncoder(t.stdout).Encode(s)
		}
		_, err = io.WriteString(t.stdout, s.String())
		return err
	}
}

func (t *tool) readStats(segments bool) (*walStats, error) {
	queue, _, err := t.queueDir()
	if err != nil {
		return nil, err
	}
	st, err := wal.Inspect(queue)
	if err != nil {
		return nil, fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	dead, err := wal.InspectDead(beside(queue, "dead"), st.Committed, nil)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	kept, err := former.Inspect(beside(queue, "former"))
	if err != nil {
		return nil, fmt.Errorf("read the events of former edges: %w", err)
	}
	over, err := former.Inspect(beside(queue, "overflow"))
	if err != nil {
		return nil, fmt.Errorf("read the overflow of the dead letters: %w", err)
	}
	var n agent.Snapshot
	agent.AddCounts(&n, st, dead, kept.Stats(nil), over.Stats(nil), time.Now())
	s := walStats{
		Dir: queue, First: st.First, Committed: st.Committed, Last: st.Last, Segments: st.Segments, Bytes: st.Bytes,
		Accepted: n.Accepted, Deployed: n.Deployed, Pending: n.Pending, Dropped: n.Dropped, Dead: n.Dead, Damaged: n.Damaged,
		Balanced: n.Accepted == n.Deployed+n.Pending+n.Dropped+n.Dead+n.Damaged, OldestPending: moment(st.OldestPending),
	}
	if st.Pending > 0 {
		newest, err := wal.Newest(queue)
		if err != nil {
			return nil, err
		}
		s.NewestPending = moment(newest)
	}
	if segments {
		list, err := wal.Segments(queue)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			s.List = append(s.List, walFileStat{i.File, i.First, i.Bytes, moment(i.Time)})
		}
	}
	return &s, nil
}

// String is the text of wal stat.
func (s *walStats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "queue      %s\noffsets    first %d, committed %d, last %d\nsegments   %d, %d bytes\n\n",
		s.Dir, s.First, s.Committed, s.Last, s.Segments, s.Bytes)
	sign := "="
	if !s.Balanced {
		sign = "≠"
	}
	fmt.Fprintf(&b, "  accepted %12d\n%s deployed %12d\n+ pending  %12d\n+ dropped  %12d\n+ dead     %12d\n+ damaged  %12d\n",
		s.Accepted, sign, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	if s.Pending > 0 {
		fmt.Fprintf(&b, "\npending    from %s to %s\n", showMoment(s.OldestPending), showMoment(s.NewestPending))
	}
	for i, f := range s.List {
		if i == 0 {
			fmt.Fprintf(&b, "\n%-20s %10s  begun\n", "segment", "bytes")
		}
		fmt.Fprintf(&b, "%s %10d  %s\n", f.File, f.Bytes, showMoment(f.Begun))
	}
	return b.String()
}
