package wal

import (
	"os"
	"path/filepath"

	"edgesync/wal/disk"
)

// byStep is a medium that reports each operation to a test before it happens, by a short name, and
// refuses the operation with the test's error. What byStep does not refuse the real medium does.
type byStep func(op string) error

var system disk.System

func (s byStep) Append(beside bool, write func() error) error {
	op := "write"
	if beside {
		op = "write-beside"
	}
	if err := s(op); err != nil {
		return err
	}
	return write()
}

func (s byStep) Adopt(sync func() error) error {
	if err := s("open"); err != nil {
		return err
	}
	return sync()
}

func (s byStep) SyncData(f *os.File) error {
	if err := s("sync"); err != nil {
		return err
	}
	return system.SyncData(f)
}

func (s byStep) StartSync(f *os.File, names bool) error {
	op := "sync"
	if names {
		op = "sync-names"
	}
	if err := s(op); err != nil {
		return err
	}
	return system.StartSync(f, names)
}

func (s byStep) FinishSync(f *os.File) error {
	if err := s("fsync"); err != nil {
		return err
	}
	return system.FinishSync(f)
}

func (s byStep) Sync(f *os.File) error {
	if err := s("committed"); err != nil {
		return err
	}
	return system.Sync(f)
}

// SyncDir is the step "parent" for a directory that no queue holds.
func (s byStep) SyncDir(dir string) error {
	op := "syncdir"
	if _, err := os.Lstat(filepath.Join(dir, "LOCK")); err != nil {
		op = "parent"
	}
	if err := s(op); err != nil {
		return err
	}
	return system.SyncDir(dir)
}

func (s byStep) Allocate(f *os.File, size int64) error {
	if err := s("reserve"); err != nil {
		return err
	}
	return system.Allocate(f, size)
}

func (s byStep) Fill(f *os.File, from, to int64) error {
	if err := s("fill"); err != nil {
		return err
	}
	return system.Fill(f, from, to)
}

func (s byStep) Truncate(f *os.File, size int64) error {
	if err := s("cut-fill"); err != nil {
		return err
	}
	return system.Truncate(f, size)
}

func (s byStep) Cut(f *os.File, size int64) error {
	if err := s("cut"); err != nil {
		return err
	}
	return system.Cut(f, size)
}

func (s byStep) Replace(path string, data []byte) error {
	if err := s("thin-write"); err != nil {
		return err
	}
	return system.Replace(path, data)
}

func (s byStep) Rename(from, to string) error {
	if err := s("thin"); err != nil {
		return err
	}
	return system.Rename(from, to)
}

func (s byStep) Remove(dir string, names []string) (int, error) {
	if err := s("drop"); err != nil {
		return 0, err
	}
	return system.Remove(dir, names)
}
