package doctor

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// configuration says what is wrong with the configuration, and what is strange.
func (x *examination) configuration() {
	file := x.Loaded.File
	if file == "" {
		file = "no file"
	}
	var problems *config.Error
	if errors.As(x.Fault, &problems) {
		for _, p := range problems.Problems {
			x.say("configuration", Bad, p.Error(), "")
		}
	} else {
		x.say("configuration", Good, file, "")
	}
	for _, n := range x.Loaded.Notices {
		x.say("configuration", Open, n, "")
	}
	for _, name := range []string{x.Loaded.File, x.config.Cloud.RoutingSecretFile} {
		if i, err := os.Stat(name); name != "" && err == nil && i.Mode().Perm()&0o004 != 0 &&
			(name != x.Loaded.File || x.config.Cloud.RoutingSecretFile == "") {
			x.say("configuration", Open, "every user of this machine may read "+strconv.Quote(name)+", which may hold the secret",
				"chmod o-r "+name)
		}
	}
}

// dataDir looks at the data directory, and tries what a commit costs there.
func (x *examination) dataDir() {
	dir, ok := x.directory()
	if !ok {
		return
	}
	var ms []time.Duration
	name := filepath.Join(dir, "doctor.TEMP")
	f, err := disk.Open(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		defer os.Remove(name)
		defer f.Close()
		ms, err = commits(f)
	}
	if err != nil {
		x.say("commit", Bad, "a trial file cannot be written: "+disk.Reason(err).Error(),
			"is the medium full, or broken? See the kernel's log")
		return
	}
	slices.Sort(ms)
	mid, most := ms[len(ms)/2], ms[len(ms)-1]
	state, do := Good, ""
	if mid > slowCommit {
		state, do = Open, "the medium is slow: devices wait so long for each answer; durability \"interval\" does without"
	}
	x.say("commit", state, "an event and its fsync take "+took(mid)+", the slowest of "+strconv.Itoa(len(ms))+" "+took(most), do)
}

// slowCommit is what a commit may take before devices notice.
const slowCommit = 200 * time.Millisecond

// commits writes and syncs some events of 128 random bytes, for at most 3 s.
func commits(f *os.File) (took []time.Duration, err error) {
	frame := make([]byte, 128)
	for end := time.Now().Add(3 * time.Second); len(took) < 9 && time.Now().Before(end); {
		_, _ = rand.Read(frame)
		begin := time.Now()
		if _, err := f.Write(frame); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// directory looks at the data directory, or at where it will be made. dir is a directory to try
// commits in; ok: there is one.
func (x *examination) directory() (dir string, ok bool) {
	const name = "data_dir"
	path, err := filepath.Abs(x.config.DataDir)
	if err != nil {
		x.say(name, Bad, err.Error(), "set data_dir to a path from the root")
		return "", false
	}
	dir, there := path, true
	for {
		i, err := os.Stat(dir)
		if err == nil && i.IsDir() {
			break
		}
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			reason := "is no directory"
			if err != nil {
				reason = disk.Reason(err).Error()
			}
			x.say(name, Bad, strconv.Quote(dir)+": "+reason, "move it away, or set data_dir to another directory")
			return "", false
		}
		dir, there = filepath.Dir(dir), false
	}
	if errors.Is(syscall.Access(dir, 2), syscall.EACCES) { // W_OK
		x.say(name, Bad, strconv.Quote(dir)+" may not be written by this user",
			"run as the user of the agent, or give that user the right to write there")
		return "", false
	}
	m, err := x.Medium(dir)
	if err != nil {
		x.say(name, Bad, err.Error(), "")
		return "", false
	}
	found := path + ": " + m.String() + ", " + size(m.Free) + " free of " + size(m.Total)
	if n := m.Floor(); n > 0 {
		found += ", of which the queue leaves " + size(n)
	}
	if !there {
		found += "; the directory will be made at the first start"
	}
	switch need := max(x.config.Queue.MaxBytes, 1<<20); {
	case m.ReadOnly:
		x.say(name, Bad, found+"; it is mounted read-only",
			"mount it for writing; if the kernel did that, see its log: the medium may be broken")
	case m.RAM:
		x.say(name, Bad, found+"; this is RAM: a power cut loses what waits there", "set data_dir to flash or disk")
	case unmounted(x.Root, path):
		x.say(name, Bad, found+"; it is below /mnt, where nothing is mounted", "mount the medium, and have it mounted at boot")
	case m.Free < need && x.Agent == nil && !there:
		x.say(name, Bad, found+"; the queue may take "+size(need), "make room, or set queue.max_bytes to less")
	case m.Free < max(512<<10, m.Floor()):
		x.say(name, Bad, found+"; this is full", "make room")
	default:
		x.say(name, Good, found, "")
	}
	for _, trap := range m.Traps() {
		if !m.RAM && !m.ReadOnly {
			x.say(name, Open, trap, "")
		}
	}
	return dir, !m.ReadOnly
}

// unmounted reports whether a path below /mnt lies on the root's file system.
func unmounted(root, path string) bool {
	if !strings.HasPrefix(path, "/mnt/") || root != "" {
		return false
	}
	var mnt, on syscall.Stat_t
	for p := path; p != "/mnt"; p = filepath.Dir(p) {
		if syscall.Stat(p, &on) == nil {
			return syscall.Stat("/", &mnt) == nil && mnt.Dev == on.Dev
		}
	}
	return true
}

// memory looks at what the agent may take.
func (x *examination) memory() {
	const name, least = "memory", 32 << 20
	total, free := x.memInfo("MemTotal:"), x.memInfo("MemAvailable:")
	if total == 0 {
		x.say(name, Open, "the kernel does not tell how much there is", "")
		return
	}
	found := size(total) + ", " + size(free) + " of it free"
	limit := agent.MemBound(x.Root)
	if limit > 0 {
		found += ", a control group allows " + size(limit)
	}
	env := x.Env
	if env == nil {
		env = os.Getenv
	}
	soft := env("GOMEMLIMIT")
	if soft != "" {
		found += ", GOMEMLIMIT is " + soft[:min(len(soft), 64)]
	}
	if x.Agent != nil {
		found += ", the agent takes " + size(x.Agent.RSSBytes)
	}
	n := debug.SetMemoryLimit(-1) // only looks
	switch {
	case limit > 0 && limit < least:
		x.say(name, Bad, found+": less than the "+size(least)+" that the agent may need",
			"raise the limit (MemoryMax of systemd, memory.max of the control group)")
	case soft != "" && limit > 0 && n > limit:
		x.say(name, Bad, found+": the kernel ends the agent before it begins to save", "unset GOMEMLIMIT")
	case soft != "" && n < 14<<20:
		x.say(name, Bad, found+": the agent would do nothing but collect garbage", "unset GOMEMLIMIT")
	case free > 0 && free < 16<<20 && x.Agent == nil:
		x.say(name, Open, found, "little is free: an agent takes 14 MiB, and up to 32 MiB at its bounds")
	default:
		x.say(name, Good, found, "")
	}
}

// read is a small file of /proc or /sys; "" if there is none.
func (x *examination) read(path string) string {
	b, err := disk.Read(x.Root+path, 1<<20)
	if err != nil {
		return ""
	}
	return string(b)
}

// memInfo is a line of /proc/meminfo, in bytes; 0 if there is none.
func (x *examination) memInfo(name string) int64 {
	for line := range strings.Lines(x.read("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 53)
			return n << 10
		}
	}
	return 0
}
