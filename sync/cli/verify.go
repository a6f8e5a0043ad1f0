package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"

	"edgesync/wal"
	"edgesync/wal/disk"
)

// errDamaged ends wal verify with exit code 1; each damage was printed before.
var errDamaged = errors.New("the queue is damaged; edgesync wal repair marks what cannot be read, so that everything else is delivered")

// verify is wal verify: it prints each damage and a summary.
func (t *tool) verify() error {
	queue, _, err := t.queueDir()
	if err != nil {
		return err
	}
	c, err := t.readAll(queue)
	if err != nil {
		return err
	}
	if c.Segments == 0 {
		return fmt.Errorf("%s is no queue: no segment is in it", strconv.Quote(queue))
	}
	damages := c.Damages
	for _, name := range []string{"former", "overflow"} { // which hold a queue each, if they are there
		dirs, _ := filepath.Glob(filepath.Join(beside(queue, name), "events-*"))
		for _, dir := range dirs {
			fmt.Fprintf(t.stdout, "%s: ", name)
			if c, err = t.readAll(dir); err != nil {
				return err
			}
			damages += c.Damages
		}
	}
	if damages > 0 {
		return errDamaged
	}
	return nil
}

// readAll reads the whole queue, and prints each damage and a summary.
func (t *tool) readAll(queue string) (wal.Checked, error) {
	c, err := wal.Verify(queue, func(damage *wal.CorruptError) { fmt.Fprintln(t.stdout, damage) })
	if err != nil {
		return c, fmt.Errorf("verify the queue at %s: %w", queue, err)
	}
	state := "all intact"
	switch {
	case c.Segments == 0:
		state = "nothing is here"
	case c.Damages > 0:
		state = several(c.Damages, "damaged place", "damaged places")
	}
	lost := ""
	if c.Lost > 0 {
		lost = "; " + several(c.Lost, "offset was", "offsets were") + " marked as lost by a repair"
	}
	if c.Thinned > 0 {
		lost += "; " + strconv.FormatUint(c.Thinned, 10) + " events were removed by thinning"
	}
	fmt.Fprintf(t.stdout, "%s, %d bytes, %s, %d of them events: %s%s\n",
		several(c.Segments, "segment", "segments"), c.Bytes, several(c.Frames, "frame", "frames"), c.Events, state, lost)
	return c, nil
}

// repair is wal repair. It holds the data directory, unless --dir names a queue alone, which has a
// lock of its own.
func (t *tool) repair() (err error) {
	queue, dataDir, err := t.queueDir()
	if err != nil {
		return err
	}
	if dataDir != "" {
		lock, err := disk.OpenDataDir(dataDir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	corrupt := beside(queue, "corrupt")
	done := &sentences{w: t.stdout}
	if err := wal.Repair(queue, corrupt, slog.New(done)); err != nil {
		return fmt.Errorf("repair the queue at %s: %w", queue, err)
	}
	if done.n == 0 {
		fmt.Fprintln(t.stdout, "nothing to repair")
	} else {
		fmt.Fprintf(t.stdout, "what was cut or replaced and is not zeros is kept in %s\n", corrupt)
	}
	_, err = t.readAll(queue)
	return err
}
