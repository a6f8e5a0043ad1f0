package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/doctor"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// Bounds of a bundle: of one file in it, of what it takes from one file of the machine, and of the
// files of data_dir that it lists.
const (
	bundleFile    = 256 << 10
	bundleFact    = 16 << 10
	bundleListing = 2000
)

// facts are files of the machine that say what it is. None of them holds secrets.
var facts = []string{
	"/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/cpuinfo", "/proc/mounts", "/proc/mtd",
	"/proc/self/status", "/proc/self/limits", "/proc/self/cgroup", "/proc/net/dev", "/etc/openwrt_release", "/etc/os-release",
	"/etc/resolv.conf",
}

// bundle is what a bug report is made of.
type bundle struct {
	w     *gzip.Writer
	dir   string // of the files in it
	at    time.Time
	state *agent.Snapshot // of the agent, else of its files; nil: there is no data directory
	log   string          // of the agent
	about doctor.Options
}

// writeTo writes the bundle as a tar.gz of some hundred KiB, at most 2 MiB. It takes as long as
// doctor does.
func (b *bundle) writeTo(ctx context.Context, w io.Writer) error {
	b.at = time.Now()
	b.dir = "edgesync-" + b.at.UTC().Format("20060102T150405") + "/"
	b.w, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // a level that there is
	var text bytes.Buffer
	b.about.Emit = func(c doctor.Check) { text.WriteString(c.Text()) }
	report := doctor.Run(ctx, b.about)
	var config, facts, listing bytes.Buffer
	printValues(&config, b.about.Loaded)
	b.facts(&facts)
	list(&listing, b.about.Loaded.Config.DataDir)
	files := []struct {
		name string
		text []byte
	}{
		{"version.json", asJSON(built(b.about.Version, b.about.Built))},
		{"doctor.txt", text.Bytes()},
		{"doctor.json", asJSON(report)},
		{"config.txt", config.Bytes()},
		{"log.txt", []byte(b.log)},
		{"machine.txt", facts.Bytes()},
		{"data_dir.txt", listing.Bytes()},
	}
	var err error
	for _, f := range files {
		err = errors.Join(err, b.add(f.name, f.text))
	}
	if b.state != nil {
		r := status.Report{Snapshot: *b.state, Health: status.Judge(b.state)}
		err = errors.Join(err, b.add("status.json", asJSON(r)))
		if b.state.Running {
			err = errors.Join(err, b.add("metrics.txt", status.Metrics(b.state)))
		}
	}
	// The end of an archive is two blocks of zeros.
	_, ending := b.w.Write(make([]byte, 2*tarBlock))
	return errors.Join(err, ending, b.w.Close())
}

func asJSON(v any) []byte {
	text, _ := json.Marshal(v) // of structs that always can be
	return append(text, '\n')
}

const tarBlock = 512

// add appends a file, cut to bundleFile, with a header of the form ustar (POSIX.1-1988).
func (b *bundle) add(name string, text []byte) error {
	text = text[:min(len(text), bundleFile)]
	var block [tarBlock]byte
	put := func(at int, s string) { copy(block[at:], s) }
	put(0, b.dir+name)
	put(100, "0000600\x000000000\x000000000\x00") // mode, user, group
	put(124, fmt.Sprintf("%011o\x00%011o\x00", len(text), b.at.Unix()))
	put(148, "        0") // the sum as blanks; a plain file
	put(257, "ustar\x0000root")
	put(297, "root")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	_, err := b.w.Write(append(append(block[:], text...), make([]byte, (tarBlock-len(text)%tarBlock)%tarBlock)...))
	return err
}

func (b *bundle) facts(w io.Writer) {
	for _, name := range facts {
		text, err := disk.Read(name, bundleFact)
		if err != nil {
			text = []byte(err.Error() + "\n")
		}
		fmt.Fprintf(w, "== %s\n%s\n", name, text)
	}
}

// list lists the files below a directory: mode, bytes, time, name.
func list(w io.Writer, dir string) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if n++; n > bundleListing {
			return errors.New("and more")
		}
		var i fs.FileInfo
		if err == nil {
			i, err = d.Info()
		}
		if err != nil {
			fmt.Fprintf(w, "%q: %v\n", path, err)
			return nil
		}
		_, err = fmt.Fprintf(w, "%s %10d %s %q\n", i.Mode(), i.Size(), i.ModTime().UTC().Format(time.RFC3339), path)
		return err
	})
	if err != nil {
		fmt.Fprintln(w, err)
	}
}

// bugreport writes a bundle about this agent to w: for the page. It asks the cloud nothing that
// would disturb the session, and takes some seconds. Any goroutine.
func (g *gateway) bugreport(ctx context.Context, w io.Writer) error {
	s := g.snapshot()
	b := bundle{state: &s, log: g.logs.last.String(), about: doctor.Options{
		Loaded: g.loaded.Load(), Version: g.full(), Built: g.Commit, Agent: &s, Silence: time.Second,
	}}
	return b.writeTo(ctx, w)
}

// bugreportCommand writes a bundle to a file.
func (p *program) bugreportCommand(ctx context.Context, args []string) int {
	t := p.newTool("bugreport", "")
	rest, code, done := t.parse(args, 1)
	if done {
		return code
	}
	l, fault := complete(&t.settings, p.env)
	var b bundle
	b.about = p.examine(l, fault)
	b.state = b.about.Agent
	if b.state == nil {
		if s, err := status.Fetch(l.Config.DataDir); err == nil {
			b.state = &s
		}
	}
	var err error
	if b.log, err = status.LastLog(l.Config.DataDir); err != nil {
		b.log = err.Error() + "\n"
	}
	name := "edgesync-" + time.Now().UTC().Format("20060102T150405") + ".tar.gz"
	if len(rest) > 0 {
		name = rest[0]
	}
	if err := writeNew(name, func(w io.Writer) error { return b.writeTo(ctx, w) }); err != nil {
		return p.fail(fmt.Errorf("write the report: %w", err))
	}
	fmt.Fprintf(p.stdout, "%s holds what doctor found, the configuration, status, log and facts of this machine.\n"+
		"Secrets are left out; names of devices and addresses are not. Look at it before you send it.\n", strings.TrimSpace(name))
	return exitOK
}

// writeNew writes a file that must not be there yet, with mode 0600. What cannot be written whole
// is removed.
func writeNew(name string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name)
	}
	return err
}
