//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
)

// mqttTime is how long each load lasts.
const mqttTime = 5 * time.Second

// ticksPerSecond is what the kernel counts CPU time in, on every Linux that we know.
const ticksPerSecond = 100

// mqtt measures publishes with QoS 1: acknowledged when they are on flash. The yardstick is mosquitto with its persistence on, which acknowledges what
// it has in memory and writes it to disk every half an hour.
func (s *site) mqtt(ctx context.Context) error {
	if err := rig.WriteConfig(s.config(), rig.Config{
		DataDir: filepath.Join(s.dir, "data"), Cloud: s.dead, HTTPListen: s.port, MQTTListen: "127.0.0.1:0", Extra: "\n[queue]\nmax_bytes = \"8GiB\"\n",
	}); err != nil {
		return err
	}
	a, err := rig.StartAgent(ctx, s.bin.Agent, s.config(), filepath.Join(s.dir, "agent.log"))
	if err != nil {
		return err
	}
	defer a.Kill()
	if err := a.WaitReady(ctx); err != nil {
		return err
	}
	status, err := a.Status(ctx)
	if err != nil {
		return err
	}
	broker, stop, err := mosquitto(ctx, s.dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: no yardstick for MQTT:", err)
	} else {
		defer stop()
	}
	tokens := make([]string, len(s.meters))
	for i, m := range s.meters {
		tokens[i] = m.Token
	}
	for _, l := range []struct {
		clients, window int
	}{{1, 1}, {1, 100}, {len(tokens), 10}} {
		row := line{what: fmt.Sprintf("MQTT publishes/s on flash, %d × %d in flight", l.clients, l.window), format: "%.0f", noBound: true}
		cost := line{what: "  CPU per publish, µs", format: "%.1f", noBound: true}
		if row.measured, cost.measured, err = publishLoad(ctx, status.MQTTAddress, a.PID(), tokens[:l.clients], l.window); err != nil {
			return err
		}
		if broker != nil {
			row.of, cost.of = "of mosquitto, in memory", "of mosquitto"
			if row.yardstick, cost.yardstick, err = publishLoad(ctx, broker.address, broker.pid, tokens[:l.clients], l.window); err != nil {
				return fmt.Errorf("mosquitto: %w", err)
			}
		}
		s.t.add(row)
		s.t.add(cost)
	}
	return nil
}

// server is where a load goes.
type server struct {
	address string
	pid     int
}

// mosquitto starts a broker that keeps its messages in dir.
func mosquitto(ctx context.Context, dir string) (*server, func(), error) {
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		return nil, nil, errors.New("mosquitto is not installed")
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	store := filepath.Join(dir, "mosquitto")
	config := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location " + store + "/\nuser root\nmax_inflight_messages 200\nlog_type none\n"
	if err := errors.Join(os.MkdirAll(store, 0o755), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, bin, "-c", config)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return &server{address, cmd.Process.Pid}, stop, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			stop()
			return nil, nil, errors.New("mosquitto does not start")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			stop()
			return nil, nil, err
		}
	}
}

// publishLoad publishes from a client for each token, each with so many in flight, and returns acknowledgements a second and CPU time for each.
func publishLoad(ctx context.Context, address string, pid int, tokens []string, window int) (perSecond, micros float64, err error) {
	before, err := cpuTime(pid)
	if err != nil {
		return 0, 0, err
	}
	var clients sync.WaitGroup
	counts, errs := make([]int, len(tokens)), make([]error, len(tokens))
	begin := time.Now()
	for i, token := range tokens {
		clients.Go(func() { counts[i], errs[i] = publishFor(ctx, address, token, window, begin.Add(mqttTime)) })
	}
	clients.Wait()
	took := time.Since(begin)
	after, err := cpuTime(pid)
	if err = errors.Join(append(errs, err)...); err != nil {
		return 0, 0, err
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds(), float64((after - before).Microseconds()) / float64(max(total, 1)), nil
}

// publishFor is one client: it publishes until then and returns how many publishes were acknowledged.
func publishFor(ctx context.Context, address, token string, window int, until time.Time) (int, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	connect := append(append(text("MQTT"), 4, 0x82, 0, 60), append(text(token), text(token)...)...)
	in, out := bufio.NewReaderSize(c, 4<<10), bufio.NewWriterSize(c, 16<<10)
	_, _ = out.Write(append([]byte{0x10, byte(len(connect))}, connect...))
	if err := out.Flush(); err != nil {
		return 0, err
	}
	var ack [4]byte
	if _, err := io.ReadFull(in, ack[:]); err != nil || ack[3] != 0 {
		return 0, fmt.Errorf("CONNACK %x: %w", ack, err)
	}
	// The same as the other loads post, one a message.
	body := append(text("v1/devices/me/telemetry"), 0, 0)
	at := len(body) - 2
	body = append(body, `{"ts":1767225600000,"values":{"temperature":21.5,"humidity":40,"wind":3.25}}`...)
	head := binary.AppendUvarint([]byte{0x32}, uint64(len(body)))
	sent, acked := 0, 0
	for {
		for sent-acked < window && time.Now().Before(until) {
			sent++
			binary.BigEndian.PutUint16(body[at:], uint16(sent%65535+1))
			_, _ = out.Write(head)
			_, _ = out.Write(body)
		}
		if sent == acked {
			return acked, nil
		}
		if err := out.Flush(); err != nil {
			return acked, err
		}
		for first := true; acked < sent && (first || in.Buffered() >= len(ack)); first = false {
			if _, err := io.ReadFull(in, ack[:]); err != nil {
				return acked, err
			}
			acked++
		}
	}
}

// cpuTime is what a process has used, in user and system mode.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(err1, err2)
}
