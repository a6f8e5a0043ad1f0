//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cgroup bounds the agent's memory as a small machine does, the pages of its files included. The
// tools that ask the agent are outside. One goroutine uses it.
type cgroup struct {
	limit   int64 // bytes
	dir     string
	wrapper string // starts the agent inside
	v2      bool

	undo    [][]string // commands that take the file system away, the last first
	highest int64      // bytes, of what the kernel has forgotten at a mark
	before  pressure   // the counts at the last mark
}

// pressure is what the agent's memory was during some time.
type pressure struct {
	most   int64 // bytes, with the pages of its files
	hits   int64 // how often the agent met the bound, where the kernel makes room first
	faults int64 // pages that were read from a file because they were not in memory
}

func (p *pressure) join(q pressure) {
	p.most, p.hits, p.faults = max(p.most, q.most), p.hits+q.hits, p.faults+q.faults
}

// newCgroup makes a memory cgroup, of version 1 or 2 as the machine has it, and in dir a program
// that runs bin inside: a copy of it, for pages of a file belong to the cgroup that reads them
// first. The copy lies on a file system of its own, of which as much is read ahead as of a router's
// flash: a large disk reads ahead as much as the whole cgroup holds, for each page that is missing.
func newCgroup(limit, dir, bin string) (*cgroup, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(limit, "MiB"), 10, 32)
	if err != nil || n < 8 || !strings.HasSuffix(limit, "MiB") {
		return nil, fmt.Errorf("-memory %s is no size such as 32MiB", limit)
	}
	g := &cgroup{limit: n << 20, wrapper: filepath.Join(dir, "agent-in-cgroup")}
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		root, g.v2 = "/sys/fs/cgroup", true
	}
	g.dir = filepath.Join(root, fmt.Sprint("edgesync-soak-", os.Getpid()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a memory cgroup: %w", err)
	}
	bound := strconv.FormatInt(g.limit, 10)
	if g.v2 {
		err = errors.Join(g.write("memory.max", bound), g.write("memory.swap.max", "0"))
	} else {
		err = g.write("memory.limit_in_bytes", bound)
	}
	own := ""
	if err == nil {
		own, err = g.onFlash(dir, bin)
	}
	if err == nil {
		err = os.WriteFile(g.wrapper, []byte(wrapped(own, bin, filepath.Join(g.dir, "cgroup.procs"))), 0o700)
	}
	if err != nil {
		g.remove()
		return nil, fmt.Errorf("bound the memory to %s: %w", limit, err)
	}
	return g, nil
}

// wrapped is a shell script that runs the agent's own copy in the cgroup, and every other command,
// which comes from outside, from the first one: it would read the copy's pages before the agent.
func wrapped(own, bin, procs string) string {
	return "#!/bin/sh\nif [ \"$1\" != run ]; then exec '" + bin + "' \"$@\"; fi\n" +
		"echo $$ >'" + procs + "' && exec '" + own + "' \"$@\"\n"
}

// readAhead is how much Linux reads ahead where nobody has said otherwise, in KiB.
const readAhead = "128"

// onFlash makes a file system in dir with a copy of bin, of which no page is in memory.
func (g *cgroup) onFlash(dir, bin string) (own string, err error) {
	image, place := filepath.Join(dir, "flash.img"), filepath.Join(dir, "flash")
	if err := errors.Join(os.Mkdir(place, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 48<<20)); err != nil {
		return "", err
	}
	own = filepath.Join(place, "edgesync")
	if err := command("mkfs.ext4", "-q", "-O", "^has_journal", image); err != nil {
		return "", err
	}
	// Direct, or the pages of the image would be in memory a second time.
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", image).Output()
	if err != nil {
		return "", fmt.Errorf("losetup: %w", err)
	}
	device := strings.TrimSpace(string(out))
	g.undo = append(g.undo, []string{"losetup", "--detach", device})
	ahead := filepath.Join("/sys/block", filepath.Base(device), "queue/read_ahead_kb")
	if err := os.WriteFile(ahead, []byte(readAhead), 0o644); err != nil {
		return "", err
	}
	if err := command("mount", device, place); err != nil {
		return "", err
	}
	g.undo = append(g.undo, []string{"umount", place})
	if err := command("cp", bin, own); err != nil {
		return "", err
	}
	// Mounted anew, nothing of it is in memory.
	return own, errors.Join(os.Chmod(own, 0o755), command("umount", place), command("mount", "-o", "ro", device, place))
}

// command runs a command, and says what it printed if it fails.
func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (g *cgroup) write(name, value string) error {
	return os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o644)
}

// read is a number of the cgroup, or of the line of a file that begins with a word.
func (g *cgroup) read(name, word string) int64 {
	b, _ := os.ReadFile(filepath.Join(g.dir, name))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if word == "" && len(f) == 1 || len(f) == 2 && f[0] == word {
			n, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			return n
		}
	}
	return 0
}

// counts are those of the cgroup from its beginning; the highest use is since the last mark, where
// the kernel can begin it anew.
func (g *cgroup) counts() pressure {
	faults := g.read("memory.stat", "pgmajfault")
	if g.v2 {
		return pressure{most: g.read("memory.peak", ""), hits: g.read("memory.events", "max"), faults: faults}
	}
	return pressure{most: g.read("memory.max_usage_in_bytes", ""), hits: g.read("memory.failcnt", ""), faults: faults}
}

// mark begins the time of which since tells.
func (g *cgroup) mark() {
	g.before = g.counts()
	g.highest = max(g.highest, g.before.most)
	if !g.v2 { // version 2 begins it anew from Linux 6.12 on, and for one open file only
		_ = g.write("memory.max_usage_in_bytes", "0")
	}
}

// since is how the agent fared since the last mark.
func (g *cgroup) since() pressure {
	now := g.counts()
	now.hits -= g.before.hits
	now.faults -= g.before.faults
	return now
}

// said is how the agent fared within its bound in all, for people.
func (g *cgroup) said() string {
	now := g.counts()
	return fmt.Sprintf("%.1f MB of %.1f MB at most, %d times at the bound, %d pages read from its files anew, %d ended by the kernel",
		float64(max(g.highest, now.most))/1e6, float64(g.limit)/1e6, now.hits, now.faults, g.kills())
}

// kills counts processes that the kernel has ended there for want of memory.
func (g *cgroup) kills() int64 {
	if g.v2 {
		return g.read("memory.events", "oom_kill")
	}
	return g.read("memory.oom_control", "oom_kill")
}

// remove takes the cgroup and the file system away, once the agent has ended.
func (g *cgroup) remove() {
	for _, args := range slices.Backward(g.undo) {
		_ = command(args[0], args[1:]...)
	}
	g.undo = nil
	os.Remove(g.dir)
}
