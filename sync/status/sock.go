package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	agent "edgesync/sync"
)

const (
	sockName = "agent.sock"
	// maxSockPath is what the kernel takes in sun_path without the final NUL.
	maxSockPath = 107
	// maxAnswer bounds the object that a client reads.
	maxAnswer = 1 << 20
	// sockTimeout bounds a read or a write of the other end.
	sockTimeout = 2 * time.Second
)

// Server answers on data_dir/agent.sock, or where the file system has no sockets on an abstract
// one. One goroutine serves one client after another, each for a bounded time.
type Server struct {
	listener *net.UnixListener
	path     string // "" for a socket without a file
	dataDir  string
	release  func()
	stop     context.CancelFunc
	done     chan struct{}
	snapshot func() agent.Snapshot
	dead     Dead
	devices  *Devices
}

// Serve opens data_dir/agent.sock, for this user only. A client that sends nothing gets snapshot()
// as one JSON object; a client that sends a request line gets the answer (Request). dead and
// devices may be nil: then requests for these are refused. The caller holds data_dir's lock, so a
// socket that is there already was left by a crash and is replaced. One goroutine of the server
// calls snapshot and dead.
func Serve(dataDir string, snapshot func() agent.Snapshot, dead Dead, devices *Devices) (*Server, error) {
	path := filepath.Join(dataDir, sockName)
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("status: %s is in the way and is no socket: move it away", path)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("status: remove the old socket: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("status: %w", err)
	}
	address, release, err := sockAddress(dataDir)
	if err != nil {
		return nil, err
	}
	l, err := bind(address)
	if noSockets(err) {
		l, err = bind(abstractAddress(dataDir))
		path = ""
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("status: open %s: %w", filepath.Join(dataDir, sockName), err)
	}
	l.SetUnlinkOnClose(false) // Close removes it, by a name that works for paths of any length
	if path != "" {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		l.Close()
		release()
		return nil, fmt.Errorf("status: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		listener: l, path: path, dataDir: dataDir, release: release, stop: stop, done: make(chan struct{}), snapshot: snapshot, dead: dead,
		devices: devices,
	}
	go s.serve(ctx)
	return s, nil
}

func (s *Server) serve(ctx context.Context) {
	defer close(s.done)
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // no descriptors left: do not spin
			continue
		}
		if s.path == "" && !trusted(c, s.dataDir) {
			c.Close()
			continue
		}
		var answer any
		if line := readRequest(c); len(line) > 0 {
			answer = s.answer(ctx, c, line)
		} else {
			snap := s.snapshot()
			cut(&snap)
			answer = &snap
		}
		if data, err := json.Marshal(answer); err == nil {
			_ = c.SetDeadline(time.Now().Add(sockTimeout))
			_, _ = c.Write(append(data, '\n')) // nothing to do if the client went away
		}
		c.Close()
	}
}

// Close stops answering and removes the socket.
func (s *Server) Close() error {
	s.stop()
	err := s.listener.Close()
	<-s.done
	s.release()
	if s.path != "" {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// bind opens a socket; tests put a file system without sockets in its place.
var bind = func(address string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
}

// noSockets reports whether the file system has no sockets: vfat says EPERM, network and FUSE file
// systems the others.
func noSockets(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS)
}

// abstractAddress names the socket that belongs to a data_dir whose file system has none: an
// abstract one (unix(7)), by the path without symbolic links. Such a name has no mode: both ends
// look at who the other one is (trusted).
func abstractAddress(dataDir string) string {
	path, err := filepath.EvalSymlinks(dataDir)
	if err != nil {
		path = dataDir
	}
	if p, err := filepath.Abs(path); err == nil {
		path = p
	}
	const most = 80
	sum := uint64(crc32.ChecksumIEEE([]byte(path)))
	return "@edgesync:" + strconv.FormatUint(sum, 16) + ":" + path[max(0, len(path)-most):]
}

// trusted reports whether the other end of a connection is root, this user or the owner of
// data_dir, who may all read the files there anyway.
func trusted(c net.Conn, dataDir string) bool {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	uid, ok := -1, false
	err = raw.Control(func(fd uintptr) { uid, ok = peerUser(fd) })
	if err != nil || !ok {
		return false
	}
	owner := -1
	if i, err := os.Stat(dataDir); err == nil {
		if st, ok := i.Sys().(*syscall.Stat_t); ok {
			owner = int(st.Uid)
		}
	}
	return uid == 0 || uid == os.Geteuid() || uid == owner
}

// sockAddress is a name for the socket that fits into the kernel's 107 bytes, by way of /proc when
// data_dir is longer. The caller calls release when the name is no longer used.
func sockAddress(dataDir string) (address string, release func(), err error) {
	path := filepath.Join(dataDir, sockName)
	if len(path) <= maxSockPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(dataDir)
	if err != nil {
		return "", nil, fmt.Errorf("status: %w", err)
	}
	address = "/proc/self/fd/" + strconv.FormatUint(uint64(dir.Fd()), 10) + "/" + sockName
	if _, err := os.Stat(filepath.Dir(address)); err != nil {
		dir.Close()
		return "", nil, fmt.Errorf("status: %s is longer than the %d bytes that a socket's name may have: choose a shorter data_dir", path,
			maxSockPath)
	}
	return address, func() { dir.Close() }, nil
}
