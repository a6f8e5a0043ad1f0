//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a cloud that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return lis.Addr().String()
}

func TestLinkFaults(t *testing.T) {
	l, err := newLink(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	// exchange is what comes back: the text, "" if nothing comes, "end" if the connection ends.
	exchange := func(c net.Conn, text string, patience time.Duration) string {
		t.Helper()
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, len(text))
		_, err := io.ReadFull(c, b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ""
		case err != nil:
			return "end"
		}
		return string(b)
	}
	const long, short = time.Minute, 50 * time.Millisecond

	c := dial()
	if got := exchange(c, "one", long); got != "one" {
		t.Errorf("through the link: %q", got)
	}
	l.slow(1<<20, time.Millisecond)
	if got := exchange(c, "slow", long); got != "slow" {
		t.Errorf("through the slow link: %q", got)
	}
	l.slow(0, 0)
	l.cut(true)
	if got := exchange(c, "two", long); got != "end" {
		t.Errorf("over a cut connection: %q", got)
	}
	if got := exchange(dial(), "three", long); got != "end" {
		t.Errorf("a new connection while it is cut: %q", got)
	}
	l.cut(false)
	c = dial()
	if got := exchange(c, "four", long); got != "four" {
		t.Errorf("behind the cut: %q", got)
	}
	l.swallow(true)
	during := dial()
	for _, c := range []net.Conn{c, during} {
		if got := exchange(c, "five", short); got != "" {
			t.Errorf("into the hole: %q", got)
		}
	}
	l.swallow(false)
	if got := exchange(c, "six", short); got != "" {
		t.Errorf("a connection that was there during the hole: %q", got)
	}
	if got := exchange(dial(), "seven", long); got != "seven" {
		t.Errorf("behind the hole: %q", got)
	}
	other := echo(t)
	l.target.Store(&other)
	if got := exchange(dial(), "eight", long); got != "eight" {
		t.Errorf("to the other cloud: %q", got)
	}
}

func TestMQTTPackets(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 200)
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"CONNECT", mqttConnectPacket("n", "tok"), "\x10\x12\x00\x04MQTT\x04\x82\x00\x00\x00\x01n\x00\x03tok"},
		{"PUBLISH", mqttPublish("t", 0x0102, []byte("p")), "\x32\x06\x00\x01t\x01\x02p"},
		{"long", mqttFrame(0x30, long), "\x30\xc8\x01" + string(long)},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("%s: %q", tc.name, tc.got)
		}
	}
	for _, tc := range []struct {
		packet  mqttPacket
		topic   string
		id      uint16
		payload string
		bad     bool
	}{
		{mqttPacket{0x32, []byte("\x00\x01t\x01\x02p")}, "t", 0x0102, "p", false},
		{mqttPacket{0x30, []byte("\x00\x01tp")}, "t", 0, "p", false},
		{mqttPacket{0x30, []byte("\x00\x01t")}, "t", 0, "", false},
		{mqttPacket{0x32, []byte("\x00\x01t\x01")}, "", 0, "", true},
		{mqttPacket{0x30, []byte("\x00\x02t")}, "", 0, "", true},
		{mqttPacket{0x30, []byte("\x00")}, "", 0, "", true},
	} {
		topic, id, payload, err := tc.packet.published()
		if (err != nil) != tc.bad || topic != tc.topic || id != tc.id || string(payload) != tc.payload {
			t.Errorf("%+v: %q %d %q %v", tc.packet, topic, id, payload, err)
		}
	}
	packets := make(chan mqttPacket, 4)
	readPackets(bufio.NewReader(bytes.NewReader(append(mqttFrame(0x40, []byte{0, 7}), mqttFrame(0x30, long)...))), packets, nil)
	var got []mqttPacket
	for p := range packets {
		got = append(got, p)
	}
	if len(got) != 2 || got[0].first != 0x40 || !bytes.Equal(got[0].body, []byte{0, 7}) || !bytes.Equal(got[1].body, long) {
		t.Errorf("%v", got)
	}
}

func TestAttacksAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks {
		if a.run == nil || seen[a.name] || len(a.name) > 32 {
			t.Errorf("%q", a.name)
		}
		seen[a.name] = true
	}
	if deck, err := chosen("", false, 20*time.Minute); err != nil || len(deck) != len(attacks) {
		t.Errorf("a whole run has %d of %d attacks: %v", len(deck), len(attacks), err)
	}
	deck, err := chosen("SIGSTOP,kill -9", false, time.Minute)
	if err != nil || len(deck) != 2 || deck[0].name != "SIGSTOP" || deck[1].name != "kill -9" {
		t.Errorf("%v, %v", deck, err)
	}
	if _, err := chosen("nothing", false, time.Minute); err == nil {
		t.Error("an unknown attack is found")
	}
	brief, err := chosen("", false, time.Minute)
	if err != nil || len(brief) == 0 || len(brief) == len(attacks) {
		t.Errorf("a short run has %d attacks: %v", len(brief), err)
	}
}
