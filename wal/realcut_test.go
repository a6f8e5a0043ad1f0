package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

var cuts = flag.Int("cuts", 5, "rounds of TestRealPowerCut, for each way to cut")

// loopDisk is an ext4 file system on a loop device whose power can be cut. After a cut nothing more
// reaches the medium, and the next mount finds what had reached it. states_test.go covers the
// states that no file system happens to show.
type loopDisk struct {
	mount, loop string
	source      string // what is mounted
	cut         func() error
	restore     func() error
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), err
}

// ownMounts marks the process of inOwnMounts.
const ownMounts = "TEST_OWN_MOUNTS"

// inOwnMounts runs f in a process of its own, which has its own mounts: whatever ends that process,
// no mount and no loop device is left behind. The calling test ends as the test in that process
// does.
func inOwnMounts(t *testing.T, f func(t *testing.T)) {
	if os.Getenv(ownMounts) != "" {
		f(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	only := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	args := []string{"-test.run", only, "-test.v", "-cuts", strconv.Itoa(*cuts)}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), ownMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig looks at the thread that started the process
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case len(out) == 0 && err != nil:
		t.Skipf("no mounts of its own for a process: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()):
		t.Skip(reason(text))
	case !strings.Contains(text, "--- PASS: "+t.Name()):
		t.Fatalf("did not run:\n%s", text)
	}
	t.Log(reason(text))
}

// reason is what a test logged, in the output of go test -v: the indented lines.
func reason(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "    ") && !strings.HasPrefix(strings.TrimSpace(line), "---") {
			said = append(said, strings.TrimSpace(line))
		}
	}
	return strings.Join(said, "\n")
}

// newDisk makes a loopDisk, or skips the test and says why.
func newDisk(t *testing.T, flakey bool) *loopDisk {
	t.Helper()
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		t.Skip("the calls have other numbers there, and an emulator does not pass them on")
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	d := &loopDisk{mount: filepath.Join(dir, "mount")}
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, image, nil)
	if err := os.Truncate(image, 24<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := command("mkfs.ext4", "-q", "-F", image); err != nil {
		t.Skip(err)
	}
	if flakey {
		if _, err := exec.LookPath("dmsetup"); err != nil {
			t.Skip(err)
		}
		if out, err := command("dmsetup", "targets"); err != nil || !strings.Contains(out, "flakey") {
			t.Skipf("the kernel has no dm-flakey: %v", err)
		}
	}
	var err error
	if d.loop, err = command("losetup", "--find", "--show", image); err != nil {
		t.Skip(err)
	}
	// The device is open here. The kernel frees it when nobody has it open any more.
	held, err := os.Open(d.loop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	if _, err := command("losetup", "--detach", d.loop); err != nil {
		t.Fatal(err)
	}
	d.source, d.restore = d.loop, func() error { return nil }
	d.cut = func() error { return shutdown(d.mount) }
	if flakey {
		d.flakey(t)
	}
	d.up(t)
	t.Cleanup(func() { syscall.Unmount(d.mount, syscall.MNT_DETACH) })
	return d
}

// flakey puts a device over the loop that drops all writes from the cut on, silently, as a disk
// without power does.
func (d *loopDisk) flakey(t *testing.T) {
	name := fmt.Sprintf("edgesync-powercut-%d", os.Getpid())
	good := fmt.Sprintf("0 %d linear %s 0", 24<<20/512, d.loop)
	bad := fmt.Sprintf("0 %d flakey %s 0 0 180 1 drop_writes", 24<<20/512, d.loop)
	if _, err := command("dmsetup", "create", name, "--table", good); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { command("dmsetup", "remove", "--retry", name) })
	load := func(table string) error {
		for _, args := range [][]string{{"suspend", "--nolockfs", name}, {"load", name, "--table", table}, {"resume", name}} {
			if _, err := command("dmsetup", args...); err != nil {
				return err
			}
		}
		return nil
	}
	d.source = "/dev/mapper/" + name
	d.cut = func() error { return load(bad) }
	d.restore = func() error { return load(good) }
}

// shutdown stops ext4 without writing its journal out: every later write, and what only the page
// cache holds, is lost.
func shutdown(mount string) error {
	const ioctl, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, as fstests use it
	f, err := os.Open(mount)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctl, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("shutdown of ext4: %w", errno)
	}
	return nil
}

// stop halts all threads of a process, each behind the system call that it is in.
func stop(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for range 1_000_000 {
		running := false
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("the threads of process %d cannot be seen", p.Pid)
		}
		for _, f := range files {
			b, _ := os.ReadFile(f)
			_, state, _ := strings.Cut(string(b), ") ")
			running = running || !strings.HasPrefix(state, "T")
		}
		if !running {
			return nil
		}
		runtime.Gosched()
	}
	return errors.New("a process does not stop")
}

func (d *loopDisk) up(t *testing.T) {
	t.Helper()
	if err := syscall.Mount(d.source, d.mount, "ext4", 0, ""); err != nil {
		t.Skipf("ext4 cannot be mounted here: %v", err)
	}
}

// The power goes while sixteen writers append. When the file system is back, what was acknowledged
// is there, in order, with nothing damaged and nothing invented (number fails on what nobody
// wrote). The child is that of TestKill.
func TestRealPowerCut(t *testing.T) {
	t.Run("flakey", func(t *testing.T) {
		inOwnMounts(t, func(t *testing.T) { powerCuts(t, newDisk(t, true)) })
	})
	t.Run("shutdown", func(t *testing.T) {
		inOwnMounts(t, func(t *testing.T) { powerCuts(t, newDisk(t, false)) })
	})
}

func powerCuts(t *testing.T, d *loopDisk) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := *cuts
	if testing.Short() {
		rounds = 1
	}
	o := testOptions(filepath.Join(d.mount, "queue"))
	o.SegmentSize = 16 << 10
	acked, delivered := make(map[uint64]bool), make(map[uint64]bool)
	for round := range rounds {
		child := exec.Command(exe)
		mode := killOffline
		if round%3 == 0 {
			mode = killPlain
		}
		child.Env = append(os.Environ(), killDir+"="+o.Dir, killMode+"="+strconv.Itoa(mode))
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Skipf("a child process cannot be started here: %v", err)
		}
		in := bufio.NewReader(out)
		after := 100 + rand.IntN(2000) // reports
		powered, still := true, round%2 == 0
		var rec [17]byte
		for i := 0; ; i++ {
			if i == after {
				// A real cut lets no fsync return. ext4 may answer an fsync that is under way with
				// success. So either all calls are over before the cut and every report counts, or
				// the cut comes at any moment and only the reports read before it count.
				if still {
					err = stop(child.Process)
				}
				if err = errors.Join(err, d.cut()); err != nil {
					child.Process.Kill()
					child.Wait()
					t.Skip(err)
				}
				powered = false
				child.Process.Kill()
			}
			if _, err := io.ReadFull(in, rec[:]); err != nil {
				break
			}
			n := binary.LittleEndian.Uint64(rec[1:])
			switch {
			case rec[0] == 'd':
				delivered[n] = true
			case rec[0] == 'a' && (powered || still):
				acked[n] = true
			}
		}
		child.Process.Kill()
		child.Wait()
		if powered {
			t.Fatalf("round %d: the child ended by itself", round)
		}
		if err := syscall.Unmount(d.mount, 0); err != nil {
			t.Fatalf("unmount: %v", err)
		}
		if err := d.restore(); err != nil {
			t.Fatal(err)
		}
		d.up(t)

		q := openQueue(t, o)
		s := q.Stats()
		checkIdentity(t, s)
		if s.Damaged != 0 || s.Dropped != 0 {
			t.Fatalf("round %d: %+v", round, s)
		}
		there := make(map[uint64]bool)
		last := make(map[uint64]uint64) // of each writer
		for _, n := range pendingNumbers(t, q) {
			there[n] = true
			if w := n % killWriters; n <= last[w] && last[w] != 0 {
				t.Fatalf("round %d: event %d of a writer behind %d", round, n, last[w])
			} else {
				last[w] = n
			}
		}
		for n := range acked {
			if !there[n] && !delivered[n] {
				t.Fatalf("round %d: event %d was acknowledged and is lost", round, n)
			}
		}
		for _, n := range commitRead(t, q) {
			delivered[n] = true
		}
		closeQueue(t, q)
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d power cuts: %d events acknowledged, none lost", rounds, len(acked))
}
