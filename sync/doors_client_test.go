package sync_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"strings"
	gosync "sync"
)

// doorsClient is an MQTT client that writes down what it is sent.
type doorsClient struct {
	p       *player
	conn    net.Conn
	version byte
	nextID  uint16

	mu         gosync.Mutex
	acks       []any
	messages   []any
	bodies     []string
	disconnect []int
	closed     bool
}

// connect takes `v4 {"user": "…"}`.
func (p *player) connect(text string) *doorsClient {
	version, options, _ := strings.Cut(text, " ")
	var o struct{ User string }
	_ = json.Unmarshal([]byte(options), &o)
	conn, err := p.mqtt.Dial()
	if err != nil {
		p.Fatal(err)
	}
	c := &doorsClient{p: p, conn: conn, version: version[1] - '0', nextID: 1}
	p.Cleanup(func() { conn.Close() })
	go c.read()
	b := append(mqttText("MQTT"), c.version, 0x82, 0, 0)
	if c.version == 5 {
		b = append(b, 0)
	}
	c.send(0x10, append(append(b, mqttText("")...), mqttText(o.User)...))
	return c
}

func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func (c *doorsClient) send(head byte, body []byte) {
	_, _ = c.conn.Write(append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...))
}

func (c *doorsClient) id() []byte {
	b := binary.BigEndian.AppendUint16(nil, c.nextID)
	if c.nextID++; c.version == 5 {
		b = append(b, 0)
	}
	return b
}

// subscribe takes a list of filters, each alone or with its quality of service.
func (c *doorsClient) subscribe(text string) {
	var filters []any
	if err := json.Unmarshal([]byte(text), &filters); err != nil {
		c.p.Fatal(err)
	}
	b := c.id()
	for _, f := range filters {
		if pair, ok := f.([]any); ok {
			f = pair[0]
		}
		b = append(append(b, mqttText(f.(string))...), 1)
	}
	c.send(0x82, b)
}

// publish takes "q1 TOPIC PAYLOAD".
func (c *doorsClient) publish(text string) {
	_, text, _ = strings.Cut(text, " ")
	topic, payload, _ := strings.Cut(text, " ")
	c.send(0x32, append(append(mqttText(topic), c.id()...), payload...))
}

func (c *doorsClient) read() {
	in := bufio.NewReader(c.conn)
	for {
		head, err := in.ReadByte()
		var n uint64
		if err == nil {
			n, err = binary.ReadUvarint(in)
		}
		body := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(in, body)
		}
		c.mu.Lock()
		if c.closed = err != nil; c.closed {
			c.mu.Unlock()
			return
		}
		c.note(head, body)
		c.mu.Unlock()
	}
}

// note writes down a packet in the words of the recording.
func (c *doorsClient) note(head byte, body []byte) {
	switch head >> 4 {
	case 2:
		c.acks = append(c.acks, []any{"CONNACK", body[0], body[1]})
	case 9:
		codes := []int{}
		from := 2
		if c.version == 5 {
			from = 3
		}
		for _, code := range body[from:] {
			codes = append(codes, int(code))
		}
		c.acks = append(c.acks, []any{"SUBACK", codes})
	case 4:
		ack := []any{"PUBACK", binary.BigEndian.Uint16(body)}
		if len(body) > 2 && body[2] != 0 {
			ack = append(ack, int(body[2]))
		}
		c.acks = append(c.acks, ack)
	case 14:
		c.disconnect = append(c.disconnect, int(body[0]))
	case 3:
		n := binary.BigEndian.Uint16(body)
		topic, rest := string(body[2:2+n]), body[2+n:]
		if head>>1&3 > 0 {
			rest = rest[2:]
		}
		if c.version == 5 {
			rest = rest[1:]
		}
		payload := string(rest)
		var j any
		_ = json.Unmarshal([]byte(payload), &j)
		c.bodies = append(c.bodies, topic+" "+payload)
		c.messages = append(c.messages, []any{
			topic, map[string]any{"dup": head >> 3 & 1, "qos": head >> 1 & 3, "retain": head & 1}, map[string]any{"json": j},
		})
	}
}

// callID is the number of the last command, which a server counts from 0 and this agent does not.
func (c *doorsClient) callID() json.Number {
	c.mu.Lock()
	defer c.mu.Unlock()
	var j struct {
		Data struct{ ID json.Number }
	}
	_, payload, _ := strings.Cut(c.bodies[len(c.bodies)-1], " ")
	_ = json.Unmarshal([]byte(payload), &j)
	return j.Data.ID
}

// seen is what came, in the words of the recording; the numbers of commands are 0.
func (c *doorsClient) seen() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		m := m.([]any)
		m[0] = callID.ReplaceAllString(m[0].(string)+" ", "rpc/request/0 ")
		m[0] = strings.TrimSpace(m[0].(string))
		if fields, ok := m[2].(map[string]any)["json"].(map[string]any); ok {
			if data, ok := fields["data"].(map[string]any); ok && data["method"] != nil {
				data["id"] = 0
			}
			if fields["method"] != nil { // the recording calls the method m, without parameters
				fields["method"], fields["params"] = "m", map[string]any{}
			}
		}
	}
	if c.messages == nil {
		c.messages = []any{}
	}
	m := map[string]any{"acks": c.acks, "closed": c.closed, "messages": c.messages}
	if len(c.disconnect) > 0 {
		m["disconnect"] = c.disconnect
	}
	return m
}
