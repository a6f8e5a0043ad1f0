//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// mqtt measures publishes with QoS 1, which are acknowledged once the event is on flash. The
// yardstick is mosquitto with persistence, which acknowledges messages that it has in memory; the
// last line of the output says so.
func (s *site) mqtt(ctx context.Context) error {
	a, tokens, err := s.startLoaded(ctx, "mqtt", "")
	if err != nil {
		return err
	}
	defer a.Kill()
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
	for _, l := range []struct{ clients, window int }{{1, 1}, {1, 100}, {100, 1}, {100, 10}} {
		if err := s.publishes(ctx, server{status.MQTTAddress, a.PID()}, broker, tokens[:l.clients], l.window); err != nil {
			return err
		}
	}
	if broker != nil {
		s.t.note(broker.version + " with persistence: it acknowledges messages in memory and writes its file every 1,800 s\n" +
			"(autosave_interval) and at its end, without an fsync for a message; a power cut costs what came since.\n" +
			"Nobody subscribes here, so it has nothing to keep or to deliver.")
	}
	return nil
}

// publishes measures with a client for each token, each with window publishes in flight. other is
// nil if there is no yardstick.
func (s *site) publishes(ctx context.Context, agent server, other *broker, tokens []string, window int) error {
	ours, stop, err := publishers(ctx, agent, tokens, window)
	if err != nil {
		return err
	}
	defer stop()
	theirs := func() (int, time.Duration, error) { return 0, 0, nil }
	if other != nil {
		l, stop, err := publishers(ctx, other.server, tokens, window)
		if err != nil {
			return fmt.Errorf("mosquitto: %w", err)
		}
		defer stop()
		theirs = l.run
	}
	r, err := ours.measure(theirs)
	if err != nil {
		return err
	}
	row := line{
		what:     fmt.Sprintf("MQTT QoS 1 publishes/s, %d × %d in flight", len(tokens), window),
		measured: r.perSecond, format: "%.0f", noBound: true,
	}
	cost := line{what: "  CPU of the agent per 1,000 of them, ms", measured: r.cpu, format: "%.2f", noBound: true}
	if other != nil {
		row.yardstick, row.of = r.otherPerSecond, "of mosquitto, in memory"
		cost.yardstick, cost.of = r.otherCPU, "of mosquitto"
	}
	s.t.add(row)
	s.t.add(cost)
	return nil
}

// server is the destination of a load.
type server struct {
	address string
	pid     int
}

// broker is a mosquitto process.
type broker struct {
	server
	version string
}

// mosquitto starts a broker that keeps its messages in dir.
func mosquitto(ctx context.Context, dir string) (*broker, func(), error) {
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		return nil, nil, errors.New("mosquitto is not installed")
	}
	help, _ := exec.CommandContext(ctx, bin, "-h").Output() // -h exits with a code that is no error
	version, _, _ := bytes.Cut(help, []byte("\n"))
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	store := filepath.Join(dir, "mosquitto")
	config := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location " + store +
		"/\nuser root\nmax_inflight_messages 200\nlog_type none\n"
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
			return &broker{server{address, cmd.Process.Pid}, string(version)}, stop, nil
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

// publishers connects a client for each token; each will have window publishes in flight.
func publishers(ctx context.Context, to server, tokens []string, window int) (*load, func(), error) {
	return connect(ctx, to, tokens, func(c net.Conn, token string) (poster, error) {
		p := &publisher{in: bufio.NewReaderSize(c, 4<<10), out: bufio.NewWriterSize(c, 16<<10), window: window}
		return p, p.connect(token)
	})
}

// publisher is one MQTT client.
type publisher struct {
	in          *bufio.Reader
	out         *bufio.Writer
	window      int
	packet      []byte
	at          int // offset of the packet id
	sent, acked int
}

func (p *publisher) connect(token string) error {
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	connect := append(append(text("MQTT"), 4, 0x82, 0, 60), append(text(token), text(token)...)...)
	_, _ = p.out.Write(append([]byte{0x10, byte(len(connect))}, connect...))
	if err := p.out.Flush(); err != nil {
		return err
	}
	var ack [4]byte
	if _, err := io.ReadFull(p.in, ack[:]); err != nil || ack[3] != 0 {
		return fmt.Errorf("CONNACK %x: %w", ack, err)
	}
	body := append(text("v1/devices/me/telemetry"), 0, 0)
	p.packet = binary.AppendUvarint([]byte{0x32}, uint64(len(body)+len(oneEvent)))
	p.packet = append(p.packet, body...)
	p.at = len(p.packet) - 2
	p.packet = append(p.packet, oneEvent...)
	return nil
}

// postUntil publishes until that time, waits for all acknowledgements and returns their number.
func (p *publisher) postUntil(until time.Time) (int, error) {
	before := p.acked
	var ack [4]byte
	for {
		for p.sent-p.acked < p.window && time.Now().Before(until) {
			p.sent++
			binary.BigEndian.PutUint16(p.packet[p.at:], uint16(p.sent%65535+1))
			_, _ = p.out.Write(p.packet)
		}
		if p.sent == p.acked {
			return p.acked - before, nil
		}
		if err := p.out.Flush(); err != nil {
			return 0, err
		}
		for first := true; p.acked < p.sent && (first || p.in.Buffered() >= len(ack)); first = false {
			if _, err := io.ReadFull(p.in, ack[:]); err != nil {
				return 0, err
			}
			if ack[0] != 0x40 {
				return 0, fmt.Errorf("%x instead of PUBACK", ack)
			}
			p.acked++
		}
	}
}
