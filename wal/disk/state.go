package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Format is the version of what lies in a data directory. A directory without the file "format" has
// version 1. Who changes a format so that the release before cannot read it counts it up, keeps the
// code that reads the one before, and a directory of it for a test (sync/cli/testdata/datadir).
const Format = 1

// ErrNewer is what the error about a data directory of a newer release is.
var ErrNewer = errors.New("data directory of a newer edgesync")

type newerError struct{ text string }

func (e newerError) Error() string        { return e.text }
func (e newerError) Is(target error) bool { return target == ErrNewer }

// formatOf is the version of the data directory at path, 1 where no file says another one. What
// cannot be read says nothing: a damaged file is no reason to stop.
func formatOf(path string) (version int, said bool) {
	data, err := ReadRegular(filepath.Join(path, "format"), 64)
	if err != nil {
		return 1, false
	}
	word, _, _ := strings.Cut(string(data), "\n")
	if n, err := strconv.Atoi(word); err == nil && n > 0 {
		return n, true
	}
	return 1, false
}

// CheckFormat is an ErrNewer about a data directory that a newer release has written. It only
// reads. Whoever looks into a directory without OpenDataDir calls it before.
func CheckFormat(path string) error {
	if n, _ := formatOf(path); n > Format {
		return newerError{fmt.Sprintf("the data directory %s was written by a newer edgesync (format %d; this one knows %d): "+
			"install that version again, or one after it; nothing was changed", strconv.Quote(path), n, Format)}
	}
	return nil
}

// noteFormat says in the directory which version this process writes. A medium that takes nothing
// may keep what means the same.
func (d *DataDir) noteFormat() error {
	n, said := formatOf(d.Path)
	if said && n == Format {
		return nil
	}
	err := errors.Join(d.MakeWay("format", File), d.MakeWay("format"+Temp, File),
		Replace(filepath.Join(d.Path, "format"), []byte(strconv.Itoa(Format)+"\n")))
	if err != nil && n != Format {
		return unusable(d.Path, err)
	}
	return nil
}

// State lists the files and directories that are the state of an agent, in its data directory.
// Beside them lie lock, agent.sock and corrupt, and incoming while state is exchanged.
var State = []string{
	"queue", "dead", "former", "overflow", "registry", "clock", "tally", "link", "minutes", "rules", "replay", "max_bytes", "format",
	Restored,
}

// Restored is the file by which a data directory that was restored tells its next agent of it.
const Restored = "restored"

const (
	incoming = "incoming"
	cleared  = "cleared" // in incoming: of what was there before nothing is left
)

// Incoming is an empty directory for state that Exchange will put in place. What an earlier one
// left there is gone.
func (d *DataDir) Incoming() (string, error) {
	path := filepath.Join(d.Path, incoming+Temp)
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	return path, errors.Join(os.Mkdir(path, 0o700), Own(path))
}

// Exchange puts what lies in Incoming, which is durable but for the names in it, in the place of
// all state, and of corrupt. When it has begun, OpenDataDir finishes it after a crash: there is the
// state of before, or the new one. An error comes with the state of before unless it wraps
// ErrExchanging.
func (d *DataDir) Exchange() error {
	path := filepath.Join(d.Path, incoming)
	err := SyncDir(path + Temp)
	if err == nil {
		err = os.Rename(path+Temp, path)
	}
	if err == nil {
		err = SyncDir(d.Path)
	}
	if err != nil {
		return err
	}
	if err := d.finishExchange(); err != nil {
		return fmt.Errorf("%w: %w", ErrExchanging, err)
	}
	return nil
}

// ErrExchanging means that an exchange of the state has begun and not come to its end: whoever
// opens the directory next goes on with it.
var ErrExchanging = errors.New("the exchange of the data directory's state goes on when it is opened next")

// finishExchange does the rest of an exchange that has begun, and takes away what one that has not
// begun left.
func (d *DataDir) finishExchange() error {
	path := filepath.Join(d.Path, incoming)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		_ = os.RemoveAll(path + Temp) // a medium that is read-only keeps it
		return nil
	}
	mark := filepath.Join(path, cleared)
	if _, err := os.Lstat(mark); err != nil {
		for _, name := range append([]string{"corrupt"}, State...) {
			if err := os.RemoveAll(filepath.Join(d.Path, name)); err != nil {
				return err
			}
		}
		if err := SyncDir(d.Path); err != nil {
			return err
		}
		if err := Replace(mark, nil); err != nil {
			return err
		}
	}
	for _, name := range State {
		err := os.Rename(filepath.Join(path, name), filepath.Join(d.Path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := SyncDir(d.Path)
	if err == nil { // by its name a directory without the mark would clear all again
		err = os.Rename(path, path+Temp)
	}
	if err == nil {
		err = SyncDir(d.Path)
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(path + Temp)
}

// Own has a file or directory belong to whom its directory belongs to, where root made it: root's
// commands must not leave files that the agent cannot read. A file system without owners is no
// error, and nothing is done where the directory is root's.
func Own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st syscall.Stat_t
	if syscall.Stat(filepath.Dir(path), &st) == nil && st.Uid != 0 {
		if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	return nil
}
