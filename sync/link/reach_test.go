package link

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A ping is answered between the frames of a server that has pings of its own, which are answered
// during the silence.
func TestPingAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		got := make(chan []byte, 64)
		go func() {
			buf := make([]byte, 256)
			for {
				n, err := there.Read(buf)
				if err != nil {
					close(got)
					return
				}
				got <- bytes.Clone(buf[:n])
			}
		}()
		settings := []byte{0, 0, 6, frameSettings, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100}
		ping := []byte{0, 0, 8, framePing, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
		window := []byte{0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}
		expect := func(what string, want []byte) {
			if b := <-got; !bytes.Equal(b, want) {
				t.Errorf("%s: % x, want % x", what, b, want)
			}
		}
		go func() {
			expect("greeting", append([]byte(preface), 0, 0, 0, frameSettings, 0, 0, 0, 0, 0))
			there.Write(append(settings, window...))
			expect("acknowledged settings", []byte{0, 0, 0, frameSettings, frameAck, 0, 0, 0, 0})
			time.Sleep(2 * time.Second)
			there.Write(ping)
			answer := bytes.Clone(ping)
			answer[4] = frameAck
			expect("answer", answer)
			asked := <-got
			asked[4] = frameAck
			time.Sleep(70 * time.Millisecond)
			there.Write(asked)
		}()
		r := &Reached{conn: here}
		defer r.Close()
		begin := time.Now()
		took, err := r.Ping(5*time.Second, time.Second)
		if err != nil || took != 70*time.Millisecond || time.Since(begin) != 5*time.Second+took {
			t.Errorf("%v, %v after %v", took, err, time.Since(begin))
		}
		// Nobody answers any more.
		if _, err := r.Ping(0, time.Second); !errors.Is(err, ErrTimeout) {
			t.Errorf("%v, want no answer in time", err)
		}
	})
}

// What is not HTTP/2 ends the wait at once.
func FuzzPing(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{0, 0, 2, 7, 0, 0, 0, 0, 0, 1, 2})
	f.Add([]byte{0, 0x40, 0, 4, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &Reached{conn: &tape{in: bytes.NewReader(in)}}
		_, err := r.Ping(0, time.Second)
		if err != nil && len(err.Error()) > maxLine+200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// tape is a connection that says what is on it, and ends.
type tape struct {
	net.Conn
	in *bytes.Reader
}

func (c *tape) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *tape) Write(b []byte) (int, error)      { return len(b), nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
