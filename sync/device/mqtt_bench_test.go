package device

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"

	"edgesync/proto"
)

// instant is an intake whose medium takes no time.
type instant struct{}

func (instant) Accept(context.Context, []proto.Event) error { return nil }

func (instant) Submit(_ context.Context, _ []proto.Event, done func(error)) error {
	done(nil)
	return nil
}

// BenchmarkMQTT is what a publish with QoS 1 costs without the medium, of a client that has a
// hundred in flight.
func BenchmarkMQTT(b *testing.B) {
	s := newStand(&testing.T{}, true)
	s.Doors.Ports.Intake = instant{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.MQTT.Serve(l)
	defer s.MQTT.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.Write(connectPacket(4, "", "lamp", ""))
	in := bufio.NewReader(c)
	io.ReadFull(in, make([]byte, 4))
	const payload = `{"ts":1767225600000,"values":{"temperature":21.5,"humidity":40,"door":false}}`
	packet := (&tester{version: 4}).publishPacket("v1/devices/me/telemetry", payload, 7)
	window := make(chan struct{}, 100)
	b.ReportAllocs()
	b.SetBytes(int64(len(packet)))
	b.ResetTimer()
	go func() {
		out := bufio.NewWriterSize(c, 8<<10)
		for range b.N {
			select {
			case window <- struct{}{}:
			default:
				out.Flush()
				window <- struct{}{}
			}
			out.Write(packet)
		}
		out.Flush()
	}()
	ack := make([]byte, 4)
	for range b.N {
		if _, err := io.ReadFull(in, ack); err != nil {
			b.Fatal(err)
		}
		<-window
	}
}
