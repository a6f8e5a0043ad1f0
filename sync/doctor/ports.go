package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ports looks whether the doors of the agent can be opened, and who has them if not.
func (x *examination) ports() {
	c, a := x.config, x.Agent
	now := [4]string{} // the doors of the agent that runs
	if a != nil {
		now = [4]string{a.HTTPAddress, a.HTTPTLSAddress, a.MQTTAddress, a.MQTTTLSAddress}
	}
	names := [4]string{"http.listen", "http.tls.listen", "mqtt.listen", "mqtt.tls.listen"}
	for i, listen := range [4]string{c.HTTP.Listen, c.HTTP.TLS.Listen, c.MQTT.Listen, c.MQTT.TLS.Listen} {
		if listen != "" {
			x.port(names[i], listen, now[i])
		}
	}
}

// port looks at the door that the configuration calls name. now is where the agent that runs has it
// open; "" = it has not.
func (x *examination) port(name, listen, now string) {
	_, port, _ := net.SplitHostPort(listen)
	_, open, _ := net.SplitHostPort(now)
	if now != "" && (port == open || port == "0") {
		x.say(name, Good, listen+": the agent that runs has "+now+" open", "")
		return
	}
	l, err := net.Listen("tcp", listen)
	switch {
	case err == nil:
		l.Close()
		found := listen + " is free"
		if x.Agent != nil {
			x.say(name, Open, found+", and the agent that runs does not have it open", "restart the agent after a change of "+name)
			return
		}
		x.say(name, Good, found, "")
	default:
		found, do := x.closed(name, listen, err)
		x.say(name, Bad, found, do)
	}
}

// Closed says in words why nothing can listen at an address, and what to do. err is of net.Listen;
// name is what the configuration calls the address.
func Closed(name, listen string, err error) error {
	x := examination{Options: new(Options)}
	found, do := x.closed(name, listen, err)
	return fmt.Errorf("%s: %s; %s: %w", name, found, do, err)
}

func (x *examination) closed(name, listen string, err error) (found, do string) {
	_, port, _ := net.SplitHostPort(listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		n, _ := strconv.Atoi(port)
		return listen + " is taken by " + x.holders(n), "stop that, or set " + name + " to another port"
	case errors.Is(err, syscall.EACCES):
		return listen + " is not allowed to this user", "take a port from 1024 on, or give the program CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return listen + ": this machine does not have that address",
			"set " + name + " to \":" + port + "\" or to an address of this machine"
	}
	return listen + ": " + err.Error(), "check " + name
}

// Bounds of the search for who has a port.
const (
	maxSockets   = 8 // that listen at a port
	maxProcesses = 64 << 10
)

// holders names the programs that listen at a TCP port.
func (x *examination) holders(port int) string {
	sockets := make(map[string]bool)
	for _, table := range [...]string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for line := range strings.Lines(x.read(table)) {
			if inode, ok := listener(line, port); ok && len(sockets) < maxSockets {
				sockets["socket:["+inode+"]"] = true
			}
		}
	}
	var list []string
	root, err := os.Open(x.Root + "/proc")
	if err == nil {
		defer root.Close()
		names, _ := root.Readdirnames(maxProcesses)
		for _, pid := range names {
			if pid[0] < '0' || pid[0] > '9' || !x.holds(pid, sockets) {
				continue
			}
			list = append(list, strings.TrimSpace(x.read("/proc/"+pid+"/comm"))+" (process "+pid+")")
			if len(list) == maxSockets {
				break
			}
		}
	}
	switch {
	case len(list) > 0:
		return strings.Join(list, ", ")
	case len(sockets) > 0 && os.Geteuid() != 0:
		return "a program of another user; as root its name is shown"
	}
	return "a program that /proc does not show"
}

// listener takes a line of /proc/net/tcp: the inode of the socket, if it listens at the port.
//
//	sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
//	 0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0   0 1234 …
func listener(line string, port int) (inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
		return "", false
	}
	_, hex, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return f[9], err == nil && int(n) == port && f[9] != "0"
}

// holds reports whether a process has one of the sockets open.
func (x *examination) holds(pid string, sockets map[string]bool) bool {
	dir, err := os.Open(filepath.Join(x.Root, "/proc", pid, "fd"))
	if err != nil {
		return false
	}
	defer dir.Close()
	for {
		fds, err := dir.Readdirnames(256)
		if err != nil {
			return false
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(dir.Name(), fd)); err == nil && sockets[to] {
				return true
			}
		}
	}
}
