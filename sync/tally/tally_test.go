package tally

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal"
	"edgesync/wal/disk"
)

func open(dir string) *File { return Open(dir, time.Now, slog.New(slog.DiscardHandler)) }

// What was lost is told apart by reason, each with its times; a day without a loss begins anew, and
// so does a person who has seen it. The totals stay, over a restart too.
func TestLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // to a year of clocks that are set: the bubble's is 2000
		dir := t.TempDir()
		f := open(dir)
		t0 := time.Now()
		f.Gap(wal.Gap{Events: 3, First: 1700000000000, Last: 1700000005000, Why: wal.WhyQuota})
		time.Sleep(time.Hour)
		f.Gap(wal.Gap{Events: 2, First: 5000, Last: 1700000009000, Why: wal.WhyQuota}) // 5000: of no clock
		f.Gap(wal.Gap{Events: 1, Why: wal.WhyThin})
		time.Sleep(time.Hour)
		f.Note(Person, 7, 0, 0)
		f.Note(Age, 0, 0, 0)
		utc := func(t time.Time) *time.Time { t = t.UTC().Truncate(time.Millisecond); return &t }
		want := []Loss{
			{Reason: "person", Events: 7, Total: 7, Since: utc(t0.Add(2 * time.Hour)), Until: utc(t0.Add(2 * time.Hour))},
			{
				Reason: "quota", Events: 5, Total: 5, Since: utc(t0), Until: utc(t0.Add(time.Hour)),
				From: moment(1700000000000), To: moment(1700000009000),
			},
			{Reason: "thinning", Events: 1, Total: 1, Since: utc(t0.Add(time.Hour)), Until: utc(t0.Add(time.Hour))},
		}
		same := func(when string, got []Loss) {
			t.Helper()
			for i := range got {
				for _, m := range []*time.Time{got[i].Since, got[i].Until} {
					if m != nil {
						*m = m.Round(0).Truncate(time.Millisecond)
					}
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		same("at once", f.Losses())
		f.Close()
		f = open(dir)
		f.Begin(20, nil, nil)
		same("after a restart", f.Losses())
		if n := f.Unrecorded(); n != 7 {
			t.Errorf("%d of 20 dropped are unrecorded, want 7", n)
		}
		if losses, _ := Look(dir, time.Now()); len(losses) != 3 {
			t.Errorf("without an agent: %+v", losses)
		}
		time.Sleep(24*time.Hour + time.Second)
		f.Note(Person, 1, 0, 0)
		now := utc(time.Now())
		want[0] = Loss{Reason: "person", Events: 1, Total: 8, Since: now, Until: now}
		same("a day later", f.Losses())
		if err := f.Seen(4); err != nil {
			t.Fatal(err)
		}
		want = []Loss{{Reason: "quota", Total: 5}, {Reason: "thinning", Total: 1}, {Reason: "person", Total: 8}}
		same("seen", f.Losses())
		if f = open(dir); f.Damaged() != 4 {
			t.Errorf("%d damaged are seen, want 4", f.Damaged())
		}
		same("seen, after a restart", f.Losses())
	})
}

// The file is written with the first loss of an hour, and never without one.
func TestNothingIsWrittenOnASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t.TempDir())
		writes := 0
		f.Begin(0, disk.Meter(func(int64, int64, int) { writes++ }), func() Flash { return Flash{Written: 10, Worn: 20} })
		for hour := range 10 {
			for range 60 {
				if hour == 3 || hour == 4 {
					f.Note(Quota, 1, 0, 0)
				}
				f.SaveIfDue()
				time.Sleep(time.Minute)
			}
		}
		if writes != 3 { // at 3:00, at 4:00, and what came in that hour at 5:00
			t.Errorf("%d writes in ten hours, want 3", writes)
		}
		dir := filepath.Dir(f.path)
		f.Close()
		f = open(dir)
		f.Begin(0, nil, func() Flash { return Flash{Written: 1, Worn: 2} })
		if got := f.Flash(); got.Written != 11 || got.Worn != 22 {
			t.Errorf("over two lives: %+v", got)
		}
	})
}

// A crash forgets less than 8 MiB of wear, and a medium that hardly wears is not written to.
func TestWearSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := open(dir)
		writes, worn := 0, int64(0)
		f.Begin(0, disk.Meter(func(int64, int64, int) { writes++ }), func() Flash { return Flash{Written: worn / 2, Worn: worn} })
		for range 100 { // minutes
			worn += 1 << 20
			f.SaveIfDue()
			time.Sleep(time.Minute)
		}
		if writes != 12 {
			t.Errorf("%d writes for 100 MiB, want 12", writes)
		}
		crashed := open(dir)
		crashed.Begin(0, nil, nil)
		if got := crashed.Flash(); got.Worn != 96<<20 || got.Written != 48<<20 {
			t.Errorf("after a crash: %+v", got)
		}
	})
}

func TestDamagedFileIsNone(t *testing.T) {
	dir := t.TempDir()
	text := header + "\nloss quota 5 3 0 0 0 0\nloss greed 1 1 0 0 0 0\ndamaged 7\n"
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(dir)
	if got := f.Losses(); !reflect.DeepEqual(got, []Loss{{Reason: "quota", Events: 3, Total: 5}}) || f.Damaged() != 0 {
		t.Errorf("%+v, %d", got, f.Damaged())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(format(&facts{
		losses: [reasons]loss{{5, 3, 1700000000000, 1700000000001, time.UnixMilli(1700000000002), time.Time{}}}, damaged: 1,
	}))
	f.Add(header + "\nloss quota 1 2 3 4 5 6\n")
	f.Add("edgesync tally 2\n")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parse(s)
		if again, fine := parse(format(&got)); ok && (!fine || !reflect.DeepEqual(again.losses, kept(got).losses)) {
			t.Errorf("%q: %+v, then %+v", s, got, again)
		}
	})
}

// kept is what format keeps of what parse takes: losses of none ever, and times of a clock that
// was not set, are left out.
func kept(f facts) facts {
	for r := range f.losses {
		l := &f.losses[r]
		if l.total == 0 {
			*l = loss{}
		}
		l.since, l.until = instant(milli(l.since)), instant(milli(l.until))
	}
	return f
}
