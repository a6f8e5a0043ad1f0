package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	agent "edgesync/sync"
	"edgesync/wal"
)

const (
	sockName = "agent.sock"
	// maxSockPath is what the kernel takes in sun_path without the final NUL.
	maxSockPath = 107
	// maxAnswer bounds the object that a client reads.
	maxAnswer = 1 << 20
	// sockTimeout is the patience with the other end.
	sockTimeout = 2 * time.Second
)

// Server answers on data_dir/agent.sock. One goroutine serves one client after another: an answer fits into the socket's buffer.
type Server struct {
	listener *net.UnixListener
	path     string
	release  func()
	done     chan struct{}
}

// Serve opens data_dir/agent.sock, for this user only, and answers every connection with snapshot() as one JSON object.
// The caller holds data_dir's lock, so a socket that is there already is left over from a crash and is replaced.
// snapshot is called from one goroutine of the server's.
func Serve(dataDir string, snapshot func() agent.Snapshot) (*Server, error) {
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
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		release()
		return nil, fmt.Errorf("status: open %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // Close does it, by a name that holds for paths of any length
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		release()
		return nil, fmt.Errorf("status: %w", err)
	}
	s := &Server{listener: l, path: path, release: release, done: make(chan struct{})}
	go s.serve(snapshot)
	return s, nil
}

func (s *Server) serve(snapshot func() agent.Snapshot) {
	defer close(s.done)
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // out of descriptors: do not spin
			continue
		}
		snap := snapshot()
		if data, err := json.Marshal(&snap); err == nil {
			_ = c.SetDeadline(time.Now().Add(sockTimeout))
			_, _ = c.Write(append(data, '\n')) // a client that went away is no event
		}
		c.Close()
	}
}

// Close stops answering and removes the socket.
func (s *Server) Close() error {
	err := s.listener.Close()
	<-s.done
	s.release()
	return errors.Join(err, os.Remove(s.path))
}

// sockAddress is a name for the socket that fits into the kernel's 107 bytes, by way of /proc when data_dir is longer.
// release is to be called when the name is no longer used.
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
		return "", nil, fmt.Errorf("status: %s is longer than the %d bytes that a socket's name may have: choose a shorter data_dir", path, maxSockPath)
	}
	return address, func() { dir.Close() }, nil
}

// Fetch asks the agent that runs on dataDir; without one it reads the queue's files, and Running is false.
func Fetch(dataDir string) (agent.Snapshot, error) { return fetch(dataDir, wal.Inspect) }

func fetch(dataDir string, inspect func(string) (wal.Stats, error)) (agent.Snapshot, error) {
	s, err := ask(dataDir)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
	default:
		return s, fmt.Errorf("status: ask the agent at %s: %w", filepath.Join(dataDir, sockName), err)
	}
	queue := filepath.Join(dataDir, "queue")
	if _, err := os.Stat(queue); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("status: no agent runs on %s and there is no queue in it: name the right directory with --data_dir or --config", strconv.Quote(dataDir))
		}
		return s, fmt.Errorf("status: %w", err)
	}
	st, err := inspect(queue)
	if err != nil {
		return s, fmt.Errorf("status: no agent runs on %s; read its queue: %w", strconv.Quote(dataDir), err)
	}
	s = agent.Snapshot{
		State:    agent.Disconnected,
		Accepted: st.Accepted, Deployed: st.Deployed, Pending: st.Pending, Dropped: st.Dropped, Dead: st.Dead, Damaged: st.Damaged,
		QueueBytes: st.Bytes, Committed: st.Committed, LastOffset: st.Last,
	}
	if st.OldestPending > 0 {
		s.OldestPendingMS = max(time.Now().UnixMilli()-st.OldestPending, 0)
	}
	if st.LastError != nil {
		s.LastError = st.LastError.Error()
	}
	return s, nil
}

// ask connects to agent.sock and reads one object.
func ask(dataDir string) (s agent.Snapshot, err error) {
	address, release, err := sockAddress(dataDir)
	if err != nil {
		return s, err
	}
	defer release()
	c, err := net.DialTimeout("unix", address, sockTimeout)
	if err != nil {
		return s, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * sockTimeout)); err != nil {
		return s, err
	}
	data, err := io.ReadAll(io.LimitReader(c, maxAnswer))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("its answer is no status: %w", err)
	}
	return s, nil
}
