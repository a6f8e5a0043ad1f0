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
	"time"

	"edgesync/scripts/internal/rig"
)

// Limits of an MQTT client.
const (
	dialLimit  = 5 * time.Second
	writeLimit = 30 * time.Second
	pubLimit   = 60 * time.Second // without a PUBACK; then the client connects anew
	maxPacket  = 1 << 20          // bytes, of what the agent sends
)

// publish is one PUBLISH with QoS 1, repeated on each connection until it is acknowledged; acked is
// called then.
type publish struct {
	topic   string
	payload []byte
	acked   func() // nil: an answer, which is not repeated

	begun time.Time
	mark  int // of holds
}

// mqttClient is a device that publishes over MQTT 3.1.1. Its goroutine, run, owns all of it.
type mqttClient struct {
	*soak
	name, token string
	window      int // publishes in flight
	pace        time.Duration
	filters     []string
	next        func() *publish                             // nil: nothing at the moment
	heard       func(topic string, payload []byte) *publish // what the agent publishes; the answer or nil

	waiting []*publish          // unacknowledged, in their order
	ids     map[uint16]*publish // of this connection
	lastID  uint16
	out     *bufio.Writer
}

// run connects again and again until the context ends.
func (c *mqttClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		m := c.holds.mark()
		if err := c.session(ctx); err != nil && ctx.Err() == nil && c.holds.undisturbed(m) {
			c.lat.fail(err.Error())
		}
		_ = rig.Pause(ctx, 50*time.Millisecond)
	}
}

// The ends of a session that the figures tell apart.
var (
	errMQTTDial   = errors.New("mqtt: no connection")
	errMQTTEnd    = errors.New("mqtt: connection closed")
	errMQTTSilent = errors.New("mqtt: no PUBACK for a minute")
)

func (c *mqttClient) session(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "tcp", *c.mqttAddress.Load())
	if err != nil {
		return errMQTTDial
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	m := c.holds.mark()
	code, in, err := mqttConnect(conn, c.name, c.token)
	if err != nil {
		return errMQTTEnd
	}
	if code != 0 {
		if c.holds.undisturbed(m) && code != mqttUnavailable {
			c.breach("the agent refuses %s, whose token is right: CONNACK %d", c.name, code)
		}
		return fmt.Errorf("mqtt: CONNACK %d", code)
	}
	packets := make(chan mqttPacket, 16)
	done := make(chan struct{})
	defer close(done)
	go readPackets(in, packets, done)
	c.out = bufio.NewWriter(deadlined{conn})
	c.ids = map[uint16]*publish{}
	if len(c.filters) > 0 {
		body := []byte{0, 1}
		for _, f := range c.filters {
			body = append(appendText(body, f), 1)
		}
		_, _ = c.out.Write(mqttFrame(0x82, body))
	}
	for _, p := range c.waiting {
		c.send(p)
	}
	if err := c.out.Flush(); err != nil {
		return errMQTTEnd
	}
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if len(c.waiting) > 0 && time.Since(c.waiting[0].begun) > pubLimit && c.holds.undisturbed(m) {
				return errMQTTSilent
			}
			if len(c.waiting) < c.window && c.gate.open() {
				if p := c.next(); p != nil {
					p.begun, p.mark = time.Now(), c.holds.mark()
					c.waiting = append(c.waiting, p)
					c.send(p)
				}
			}
		case p, ok := <-packets:
			if !ok {
				return errMQTTEnd
			}
			c.take(p)
		case <-ctx.Done():
			return nil
		}
		if err := c.out.Flush(); err != nil {
			return errMQTTEnd
		}
	}
}

// take handles a packet of the agent.
func (c *mqttClient) take(p mqttPacket) {
	switch p.first >> 4 {
	case 3: // PUBLISH
		topic, id, payload, err := p.published()
		if err != nil {
			c.breach("%s: the agent sends %v", c.name, err)
			return
		}
		if id != 0 {
			_, _ = c.out.Write(mqttFrame(0x40, binary.BigEndian.AppendUint16(nil, id)))
		}
		if answer := c.heard(topic, payload); answer != nil {
			c.send(answer)
		}
	case 4: // PUBACK
		if len(p.body) != 2 {
			c.breach("%s: the agent sends a PUBACK of %d bytes", c.name, len(p.body))
			return
		}
		id := binary.BigEndian.Uint16(p.body)
		pub := c.ids[id]
		delete(c.ids, id)
		if pub == nil || pub.acked == nil {
			return
		}
		for i := range c.waiting {
			if c.waiting[i] == pub {
				c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
				c.lat.add(time.Since(pub.begun), c.holds.undisturbed(pub.mark), c.name+" "+pub.topic)
				pub.acked()
				return
			}
		}
	}
}

// send writes a publish under the next free id.
func (c *mqttClient) send(p *publish) {
	for c.lastID++; c.lastID == 0 || c.ids[c.lastID] != nil; c.lastID++ {
	}
	c.ids[c.lastID] = p
	_, _ = c.out.Write(mqttPublish(p.topic, c.lastID, p.payload))
}

// deadlined gives each write its time.
type deadlined struct{ net.Conn }

func (d deadlined) Write(b []byte) (int, error) {
	_ = d.SetWriteDeadline(time.Now().Add(writeLimit))
	return d.Conn.Write(b)
}

// mqttUnavailable is the CONNACK code with which the agent says "later".
const mqttUnavailable = 3

// mqttConnect logs in and returns the code of the CONNACK and the reader for what follows.
func mqttConnect(conn net.Conn, name, token string) (code byte, in *bufio.Reader, err error) {
	if err := conn.SetDeadline(time.Now().Add(writeLimit)); err != nil {
		return 0, nil, err
	}
	if _, err := conn.Write(mqttConnectPacket(name, token)); err != nil {
		return 0, nil, err
	}
	in = bufio.NewReader(conn)
	var ack [4]byte
	if _, err := io.ReadFull(in, ack[:]); err != nil {
		return 0, nil, err
	}
	if ack[0] != 0x20 {
		return 0, nil, fmt.Errorf("%x instead of a CONNACK", ack)
	}
	return ack[3], in, conn.SetDeadline(time.Time{})
}

// mqttConnectPacket is a CONNECT of MQTT 3.1.1 without keep-alive.
func mqttConnectPacket(name, token string) []byte {
	return mqttFrame(0x10, appendText(appendText(append(appendText(nil, "MQTT"), 4, 0x82, 0, 0), name), token))
}

func mqttPublish(topic string, id uint16, payload []byte) []byte {
	return mqttFrame(0x32, append(binary.BigEndian.AppendUint16(appendText(nil, topic), id), payload...))
}

func mqttFrame(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// mqttPacket is a packet behind its length.
type mqttPacket struct {
	first byte
	body  []byte
}

// published takes a PUBLISH apart.
func (p mqttPacket) published() (topic string, id uint16, payload []byte, err error) {
	b := p.body
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return "", 0, nil, errors.New("a PUBLISH without a topic")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	topic, b = string(b[2:n]), b[n:]
	if p.first>>1&3 > 0 {
		if len(b) < 2 {
			return "", 0, nil, errors.New("a PUBLISH without an id")
		}
		id, b = binary.BigEndian.Uint16(b), b[2:]
	}
	return topic, id, b, nil
}

// readPackets sends what arrives to the channel, which it closes at the end.
func readPackets(in *bufio.Reader, packets chan<- mqttPacket, done <-chan struct{}) {
	defer close(packets)
	for {
		first, err := in.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(in)
		if err != nil || n > maxPacket {
			return
		}
		p := mqttPacket{first, make([]byte, n)}
		if _, err := io.ReadFull(in, p.body); err != nil {
			return
		}
		select {
		case packets <- p:
		case <-done:
			return
		}
	}
}
