package notify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// What a service says of itself.
const (
	Ready    = "READY=1"    // it serves; systemd starts what waits for it
	Stopping = "STOPPING=1" // it has begun to stop
	Alive    = "WATCHDOG=1" // it still lives; without this for WatchdogSec systemd kills it
)

// Socket is the way to the service manager. The zero Socket leads nowhere. Any goroutine may use
// it.
type Socket struct {
	conn  net.Conn
	every time.Duration
}

// Open opens the socket that the environment names; lookup is os.LookupEnv or alike. An error means
// that the manager will hear nothing, and wait.
func Open(lookup func(name string) (string, bool)) (*Socket, error) {
	name, _ := lookup("NOTIFY_SOCKET")
	if name == "" {
		return &Socket{}, nil
	}
	// A leading "@" is an abstract name, for systemd and for net alike.
	conn, err := net.Dial("unixgram", name)
	if err != nil {
		return &Socket{}, fmt.Errorf("the service manager's socket (NOTIFY_SOCKET) cannot be reached: %w", err)
	}
	return &Socket{conn, watchdog(lookup)}, nil
}

// watchdog is half of the time in which the manager wants to hear of this process; 0: it does not.
func watchdog(lookup func(string) (string, bool)) time.Duration {
	text, _ := lookup("WATCHDOG_USEC")
	us, err := strconv.ParseInt(text, 10, 64)
	if err != nil || us < 2 || us > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	// A child inherits the variables, and is not meant by them.
	if pid, ok := lookup("WATCHDOG_PID"); ok && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(us) * time.Microsecond / 2
}

// Every is how often Alive is due; 0: never.
func (s *Socket) Every() time.Duration { return s.every }

// Send sends one of the states.
func (s *Socket) Send(state string) error {
	if s.conn == nil {
		return nil
	}
	if _, err := s.conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", state, err)
	}
	return nil
}

// Close closes the socket.
func (s *Socket) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
