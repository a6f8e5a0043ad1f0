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
	"edgesync/sync/former"
	"edgesync/sync/ruling"
	"edgesync/sync/tally"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// Fetch asks the agent that runs on dataDir for its snapshot. Without an agent it reads the files
// of the queue, and Running is false.
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
	if err := disk.CheckFormat(dataDir); err != nil {
		return s, err
	}
	queue := filepath.Join(dataDir, "queue")
	if _, err := os.Stat(queue); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("status: no agent runs on %s and there is no queue in it: "+
				"name the right directory with --data_dir or --config", strconv.Quote(dataDir))
		}
		return s, fmt.Errorf("status: %w", err)
	}
	st, err := inspect(queue)
	if err != nil {
		return s, fmt.Errorf("status: no agent runs on %s; read its queue: %w", strconv.Quote(dataDir), err)
	}
	dead, err := wal.InspectDead(filepath.Join(dataDir, "dead"), st.Committed, nil)
	if err != nil {
		return s, fmt.Errorf("status: no agent runs on %s; read its dead letters: %w", strconv.Quote(dataDir), err)
	}
	kept, err := former.Inspect(filepath.Join(dataDir, "former"))
	if err != nil {
		return s, fmt.Errorf("status: no agent runs on %s; read the events of former edges: %w", strconv.Quote(dataDir), err)
	}
	over, err := former.Inspect(filepath.Join(dataDir, "overflow"))
	if err != nil {
		return s, fmt.Errorf("status: no agent runs on %s; read the overflow of the dead letters: %w", strconv.Quote(dataDir), err)
	}
	failed := st.LastError
	st.LastError, st.Writable, st.Since, st.CommitBytes = nil, false, 0, 0 // meant the process that read the files
	s = agent.Snapshot{State: agent.Disconnected}
	s.At = time.Now().UTC()
	agent.AddCounts(&s, st, dead, kept.Stats(nil), over.Stats(nil), s.At)
	c := ruling.ReadCounts(filepath.Join(dataDir, "rules"))
	s.AddRules(c.Made, c.Filtered, c.Held, c.Merged)
	s.RuleFailures = c.Failed
	s.Losses, s.DamagedSeen = tally.Look(dataDir, s.At)
	if failed != nil {
		s.LastError = failed.Error()
	}
	return s, nil
}

// ask gets a snapshot from agent.sock.
func ask(dataDir string) (s agent.Snapshot, err error) {
	data, err := exchange(dataDir, nil, 2*sockTimeout)
	if err == nil {
		if err = json.Unmarshal(data, &s); err != nil {
			err = fmt.Errorf("its answer is no status: %w", err)
		}
	}
	return s, err
}

// exchange connects to agent.sock, sends line (nothing if it is empty), and reads the answer.
func exchange(dataDir string, line []byte, patience time.Duration) ([]byte, error) {
	c, err := dial(dataDir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if len(line) > 0 {
		_, _ = c.Write(line) // an older agent, which reads no requests, may have closed already
	}
	_ = c.(*net.UnixConn).CloseWrite() // so that it need not wait for more
	data, err := io.ReadAll(io.LimitReader(c, maxAnswer))
	// The agent closed without reading the line; its answer is whole.
	if len(data) > 0 && errors.Is(err, syscall.ECONNRESET) {
		err = nil
	}
	return data, err
}

// dial connects to agent.sock.
func dial(dataDir string) (net.Conn, error) {
	address, release, err := sockAddress(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	c, err := net.DialTimeout("unix", address, sockTimeout)
	if errors.Is(err, fs.ErrNotExist) { // the agent's file system may have no sockets
		if other, otherErr := net.DialTimeout("unix", abstractAddress(dataDir), sockTimeout); otherErr == nil {
			if !trusted(other, dataDir) {
				other.Close()
				return nil, err
			}
			c, err = other, nil
		}
	}
	return c, err
}
