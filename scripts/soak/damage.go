//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"edgesync/scripts/internal/rig"
)

func killNine(ctx context.Context, s *soak) (string, error) {
	s.kill()
	took, err := s.again(ctx)
	return fmt.Sprintf("listens after %.0f ms", took.Seconds()*1000), err
}

// killsInARow kills the agent at any moment of its start.
func killsInARow(ctx context.Context, s *soak) (string, error) {
	n := 3 + s.random.IntN(4)
	s.kill()
	for range n {
		p, err := s.launch(ctx)
		if err != nil {
			return "", err
		}
		if err := rig.Pause(ctx, time.Duration(s.random.Int64N(int64(80*time.Millisecond)))); err != nil {
			return "", err
		}
		p.Kill()
	}
	took, err := s.again(ctx)
	return fmt.Sprintf("%d more kills within its start, then listens after %.0f ms", n, took.Seconds()*1000), err
}

// killWhileCut kills the agent while events wait for the link.
func killWhileCut(ctx context.Context, s *soak) (string, error) {
	s.link.cut(true)
	defer s.link.cut(false)
	if err := rig.Pause(ctx, s.span(time.Second, 10*time.Second)); err != nil {
		return "", err
	}
	s.kill()
	took, err := s.again(ctx)
	if err != nil {
		return "", err
	}
	st, err := s.status()
	s.sums(st)
	return fmt.Sprintf("%d events waited, listens after %.0f ms", st.Pending, took.Seconds()*1000),
		errors.Join(err, rig.Pause(ctx, s.span(500*time.Millisecond, 5*time.Second)))
}

func sigstop(ctx context.Context, s *soak) (string, error) {
	d := s.span(time.Second, 8*time.Second)
	s.holds.hold()
	_ = syscall.Kill(s.agent.PID(), syscall.SIGSTOP)
	err := rig.Pause(ctx, d)
	_ = syscall.Kill(s.agent.PID(), syscall.SIGCONT)
	s.holds.release()
	return fmt.Sprintf("for %.1f s", d.Seconds()), err
}

func cleanRestart(ctx context.Context, s *soak) (string, error) {
	s.weigh()
	s.holds.hold()
	begun := time.Now()
	err := s.agent.Stop()
	stopped := time.Since(begun)
	took, failed := s.again(ctx)
	said := fmt.Sprintf("stopped in %.0f ms, listens after %.0f ms", stopped.Seconds()*1000, took.Seconds()*1000)
	return said, errors.Join(err, failed)
}

// places are names of data_dir that hold neither events nor counts: what stands there may be lost.
var places = []string{
	"lock", "max_bytes", "max_bytes.TEMP", "clock", "clock.TEMP", "link", "link.TEMP", "tally", "tally.TEMP", "trial.TEMP",
	"replay", "replay.TEMP", "agent.sock", "corrupt",
	"queue/LOCK", "queue/reserve", "queue/reserve.TEMP", "queue/00000000000000000001.TEMP", "queue/00000000000000000001.THIN",
	"dead/letters.new", "registry/store", "registry/store.new", "registry/ota",
}

// wrong puts something at a path that is neither a file nor an empty directory.
var wrong = []struct {
	name string
	put  func(path string) error
}{
	{"a full directory", func(path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), 0o700) }},
	{"a pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
	{"a link to nothing", func(path string) error { return os.Symlink("nowhere/at/all", path) }},
	{"a link to itself", func(path string) error { return os.Symlink(filepath.Base(path), path) }},
	{"a link to a device", func(path string) error { return os.Symlink("/dev/null", path) }},
	{"a socket", func(path string) error {
		here, err := os.Open(filepath.Dir(path)) // a socket's name has at most 107 bytes
		if err != nil {
			return err
		}
		defer here.Close()
		name := fmt.Sprintf("/proc/self/fd/%d/%s", here.Fd(), filepath.Base(path))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	}},
}

// wrongTypes puts what does not belong there into data_dir while the agent is ended.
func wrongTypes(ctx context.Context, s *soak) (string, error) {
	goroutines, err := s.endQuietly(ctx)
	if err != nil {
		return "", err
	}
	said, lost := "", false
	s.random.Shuffle(len(places), func(a, b int) { places[a], places[b] = places[b], places[a] })
	for _, place := range places[:3] {
		kind := wrong[s.random.IntN(len(wrong))]
		if place == "agent.sock" && kind.name == "a socket" || place == "corrupt" && kind.name == "a full directory" ||
			place == "registry/ota" && kind.name == "a full directory" {
			continue // belongs there
		}
		path := filepath.Join(s.dataDir, place)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o700)); err != nil {
			return "", err
		}
		if err := kind.put(path); err != nil {
			return "", fmt.Errorf("cannot put %s at %s: %w", kind.name, place, err)
		}
		said += place + " is " + kind.name + ", "
		lost = lost || place == "registry/store"
	}
	back, err := s.afterDamage(ctx, lost)
	return fmt.Sprintf("%sserves its devices after %.2f s; before %d goroutines", said, back.Seconds(), goroutines), err
}

// afterDamage starts the agent, and if the registry is lost holds until it knows its devices again.
func (s *soak) afterDamage(ctx context.Context, lost bool) (time.Duration, error) {
	begun := time.Now()
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	defer s.holds.release()
	if !lost {
		return time.Since(begun), nil
	}
	// The agent knew each token; each must be let in again.
	for i := range meters {
		if err := s.letIn(ctx, fmt.Sprint("meter-", i)); err != nil {
			return 0, err
		}
	}
	for i := range pumps {
		if err := s.letIn(ctx, fmt.Sprint("pump-", i)); err != nil {
			return 0, err
		}
	}
	for _, token := range []string{"hub-0", "marker-0", "hoard-0"} {
		if err := s.letIn(ctx, token); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

func (s *soak) letIn(ctx context.Context, token string) error {
	return until(ctx, quietLimit, token+" is let in again", func() bool {
		code, _ := s.ask(ctx, s.client, "GET", "/api/v1/"+token+"/attributes?clientKeys=count", "")
		return code == 200
	})
}

// damagedRegistry damages the store of the registry while the agent is ended: some bytes, its end,
// or all of it.
func damagedRegistry(ctx context.Context, s *soak) (string, error) {
	goroutines, err := s.endQuietly(ctx)
	if err != nil {
		return "", err
	}
	said, err := s.damage(filepath.Join(s.dataDir, "registry", "store"))
	if err != nil {
		return "", err
	}
	back, err := s.afterDamage(ctx, true)
	return fmt.Sprintf("%s, serves its devices after %.2f s; before %d goroutines", said, back.Seconds(), goroutines), err
}

// damagedSmallFiles damages what the agent can make anew.
func damagedSmallFiles(ctx context.Context, s *soak) (string, error) {
	goroutines, err := s.endQuietly(ctx)
	if err != nil {
		return "", err
	}
	all := ""
	for _, name := range []string{"clock", "link", "max_bytes"} {
		said, err := s.damage(filepath.Join(s.dataDir, name))
		if err != nil {
			return "", err
		}
		all += name + ": " + said + ", "
	}
	back, err := s.afterDamage(ctx, false)
	return fmt.Sprintf("%slistens after %.2f s; before %d goroutines", all, back.Seconds(), goroutines), err
}

// damage damages a file in one of some ways.
func (s *soak) damage(path string) (string, error) {
	if i, err := os.Lstat(path); err != nil || !i.Mode().IsRegular() || i.Size() == 0 {
		return "not there", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	said := ""
	switch s.random.IntN(4) {
	case 0:
		said = "some bits of it are wrong"
		for range 1 + s.random.IntN(10) {
			b[s.random.IntN(len(b))] ^= 1 << s.random.IntN(8)
		}
	case 1:
		n := s.random.IntN(len(b))
		said = fmt.Sprintf("the last %d of its %d bytes are gone", len(b)-n, len(b))
		b = b[:n]
	case 2:
		n := s.random.IntN(len(b))
		said = fmt.Sprintf("the last %d of its %d bytes are zero", len(b)-n, len(b))
		clear(b[n:])
	default:
		said = fmt.Sprintf("all of its %d bytes are random", len(b))
		for i := range b {
			b[i] = byte(s.random.Uint32())
		}
	}
	return said, os.WriteFile(path, b, 0o600)
}
