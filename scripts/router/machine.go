//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Where the flashes lie in the machine's memory (init has the same numbers), in bytes. The kernel
// keeps to what is below and above them.
const (
	ramSize   = 256 << 20
	norStart  = 96 << 20
	nandStart = 112 << 20
	flashEnd  = 128 << 20
	// kernelMemory is what is the kernel's: it begins above with the initial RAM disk.
	kernelMemory = "mem=96M@0 mem=32M@224M"
	bootLimit    = 10 * time.Minute // on a busy machine
)

// machine is the router. Its files outlive its lives. One goroutine owns it; what the console says
// is noted under mu.
type machine struct {
	dir   string // kernel, initrd.gz, images
	ram   string // its memory, a file in the machine that runs it
	cloud int    // port of the cloud here
	ports []int  // here, of the doors of the agents
	log   io.Writer

	cmd   *exec.Cmd
	ended chan struct{}
	life  atomic.Int64

	mu      sync.Mutex // guards what follows
	ups     int
	starts  []float64 // seconds from an agent's start to its answer
	booted  []float64 // seconds from the machine's start to that of the last agent
	peaks   map[string]int64
	failure error
}

// newMachine makes the memory with empty flashes.
func newMachine(dir string, cloud int, log io.Writer) (*machine, error) {
	m := &machine{dir: dir, cloud: cloud, log: log, peaks: map[string]int64{}}
	where := "/dev/shm" // a file that is mapped is written back all the time elsewhere
	if _, err := os.Stat(where); err != nil {
		where = dir
	}
	f, err := os.CreateTemp(where, "edgesync-router-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m.ram = f.Name()
	// The card is new in each run: an agent that finds what an earlier one left keeps its events
	// apart, as those of a former edge.
	card, err := os.ReadFile(filepath.Join(dir, "f2fs.img"))
	if err == nil {
		err = os.WriteFile(m.card(), card, 0o600)
	}
	if err != nil {
		m.remove()
		return nil, err
	}
	image, err := os.ReadFile(filepath.Join(dir, "ubi.img"))
	if err == nil {
		err = f.Truncate(ramSize)
	}
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, flashEnd-norStart), norStart)
	}
	if err == nil {
		_, err = f.WriteAt(image, nandStart)
	}
	if err != nil {
		m.remove()
		return nil, err
	}
	for range flashes { // chosen once: the devices know them
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			m.remove()
			return nil, err
		}
		m.ports = append(m.ports, l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	return m, nil
}

func (m *machine) card() string { return filepath.Join(m.dir, "card.img") }

func (m *machine) remove() {
	os.Remove(m.ram)
	os.Remove(m.card())
}

// start begins a life of the machine, and returns when all agents answer.
func (m *machine) start() error {
	forward := ""
	for i, p := range m.ports {
		door := 8081 + slices.Index(every, flashes[i])
		forward += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", p, door)
	}
	m.cmd = exec.Command("qemu-system-mipsel",
		"-M", "malta,memory-backend=ram", "-cpu", "24Kc", "-m", "256", "-nographic", "-vga", "none", "-no-reboot",
		"-object", "memory-backend-file,id=ram,size=256M,share=on,mem-path="+m.ram,
		"-kernel", filepath.Join(m.dir, "kernel"), "-initrd", filepath.Join(m.dir, "initrd.gz"),
		"-append", "console=ttyS0 quiet panic=-1 "+kernelMemory+" cloud="+strconv.Itoa(m.cloud)+" flash="+strings.Join(flashes, ","),
		"-netdev", "user,id=net"+forward, "-device", "virtio-net-pci,netdev=net,romfile=",
		"-drive", "file="+m.card()+",format=raw,if=none,id=card", "-device", "virtio-blk-pci,drive=card")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.cmd.Stderr = m.log
	m.mu.Lock()
	m.ups = 0
	m.mu.Unlock()
	m.life.Add(1)
	fmt.Fprintf(m.log, "\n=== life %d at %s\n", m.life.Load(), time.Now().Format("15:04:05.000"))
	if err := m.cmd.Start(); err != nil {
		return err
	}
	up := make(chan struct{})
	ended := make(chan struct{})
	m.ended = ended
	go func() {
		m.listen(out, in, up)
		_ = m.cmd.Wait()
		close(ended)
	}()
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	select {
	case <-up:
		return m.failed()
	case <-ended:
		return errors.Join(errors.New("the machine ended while it began"), m.failed())
	case <-limit.C:
		return errors.Join(fmt.Errorf("the agents do not answer within %v", bootLimit), m.failed())
	}
}

// listen reads the console until it ends, and closes up when all agents answer.
func (m *machine) listen(out io.Reader, in io.Writer, up chan struct{}) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(m.log, lines.Text())
		_, said, ok := strings.Cut(strings.TrimRight(lines.Text(), "\r"), "router: ")
		if !ok {
			continue
		}
		words := strings.Fields(said)
		if words[0] == "flash" {
			if err := m.tellWriteSize(); err != nil {
				m.fail(err)
			}
			_, _ = io.WriteString(in, "\n")
			continue
		}
		m.mu.Lock()
		switch {
		case words[0] == "up" && len(words) == 4:
			m.ups++
			begun, _ := strconv.ParseFloat(words[2], 64)
			answered, _ := strconv.ParseFloat(words[3], 64)
			m.starts = append(m.starts, answered-begun)
			if m.ups == len(m.ports) {
				m.booted = append(m.booted, answered)
				close(up)
			}
		case words[0] == "memory" && len(words) == 3:
			n, _ := strconv.ParseInt(words[2], 10, 64)
			m.peaks[words[1]] = max(m.peaks[words[1]], n)
		case m.failure == nil && words[0] == "failed:":
			m.failure = errors.New(said)
		}
		m.mu.Unlock()
	}
}

func (m *machine) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = errors.Join(m.failure, err)
}

func (m *machine) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failure
}

// cut takes the power away.
func (m *machine) cut() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	<-m.ended
}

// tellWriteSize puts into the machine's memory how many bytes are written at a time to the flashes:
// UBI asks for it, and phram leaves it 0. The number follows type, flags, size, size of an
// eraseblock and smallest write in struct mtd_info (linux/mtd/mtd.h), by which it is found.
func (m *machine) tellWriteSize() error {
	const mtdRAM, capRAM, flash, block = 1, 0x1c00, 16 << 20, 64 << 10
	le := binary.LittleEndian
	pattern := le.AppendUint32([]byte{mtdRAM, 0, 0, 0}, capRAM)
	rest := le.AppendUint32(le.AppendUint32(le.AppendUint64(nil, flash), block), 1)
	f, err := os.OpenFile(m.ram, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, ramSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Munmap(b) }()
	found := 0
	for at := 0; at < norStart; {
		i := bytes.Index(b[at:norStart], pattern)
		if i < 0 {
			break
		}
		at += i + len(pattern)
		for gap := 0; gap <= 4; gap += 4 { // the size is aligned to 8 bytes
			if p := at + gap; bytes.Equal(b[p:p+len(rest)], rest) && le.Uint32(b[p+len(rest):]) == 0 {
				le.PutUint32(b[p+len(rest):], 64)
				found++
				break
			}
		}
	}
	if found < 2 {
		return fmt.Errorf("%d of 2 flashes are found in the machine's memory", found)
	}
	return nil
}
