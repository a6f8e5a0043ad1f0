package link

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/mem"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
)

// readAll is a Packages that wants everything, twice, and puts it back into its message.
type readAll struct {
	t     *testing.T
	whole []*proto.OtaPackageUpdateMsg
}

func (p *readAll) TakePackage(u *proto.OtaPackageUpdateMsg, size int, text func() io.Reader) func() (bool, error) {
	first, err := io.ReadAll(text())
	again, err2 := io.ReadAll(text())
	if err != nil || err2 != nil || len(first) != size || !bytes.Equal(first, again) || u.Entity != "" {
		p.t.Errorf("%d bytes, then %d, of %d: %v, %v", len(first), len(again), size, err, err2)
	}
	u = pb.CloneOf(u)
	u.Entity = string(first)
	p.whole = append(p.whole, u)
	return func() (bool, error) { return true, nil }
}

// took is a message as it was taken, with the packages in it again. counted is what it would cost
// without them.
func took(t *testing.T, b []byte, piece int) (m *proto.ResponseMsg, packages, counted int, err error) {
	var w wire
	if err := (rawCodec{}).Unmarshal(inPieces(b, piece), &w); err != nil {
		return nil, 0, 0, err
	}
	counted, _ = costOf(w.data, true)
	all := readAll{t: t}
	in, err := w.takePackages(context.Background(), &all)
	if err != nil {
		return nil, 0, 0, err
	}
	if d := in.Msg.DownlinkMsg; d != nil {
		d.OtaPackageUpdateMsg = append(d.OtaPackageUpdateMsg, all.whole...)
	}
	return in.Msg, len(in.Packages), counted, nil
}

// Large packages are taken out of a message, whatever is around them, and are not decoded; small
// ones stay.
func TestPackagesAreTakenOut(t *testing.T) {
	large := strings.Repeat("QUJD", largePackage/4)
	b := otaMessage(`{"data":"` + large + `"}`)
	var want proto.ResponseMsg
	if err := pb.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	d := want.DownlinkMsg // the small one comes first
	d.OtaPackageUpdateMsg[0], d.OtaPackageUpdateMsg[1] = d.OtaPackageUpdateMsg[1], d.OtaPackageUpdateMsg[0]
	for _, piece := range []int{1, 1000, 16 << 10, len(b)} {
		got, packages, cost, err := took(t, b, piece)
		if err != nil || packages != 1 || !pb.Equal(got, &want) || cost > 16<<10 {
			t.Errorf("in pieces of %d: %d packages, cost %d, %v", piece, packages, cost, err)
		}
	}
	if cost, left := costOf(inPieces(b, 1000), false); left || cost < largePackage {
		t.Errorf("decoded it costs %d", cost)
	}
	small := otaMessage(large[:largePackage-1])
	if _, packages, _, err := took(t, small, 1000); err != nil || packages != 0 {
		t.Errorf("%d packages of a small one, %v", packages, err)
	}
	if _, left := costOf(inPieces(small, 1000), true); left {
		t.Error("a small one is left out")
	}
	for _, broken := range [][]byte{b[:len(b)-100], append(b[:len(b):len(b)], 0xff)} {
		if _, _, _, err := took(t, broken, 1000); err == nil {
			t.Errorf("%d bytes of %d were taken", len(broken), len(b))
		}
	}
	// The session ends: the text ends with it.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var w wire
	_ = rawCodec{}.Unmarshal(inPieces(b, 1000), &w)
	if _, err := w.takePackages(ctx, ending{}); err == nil {
		t.Error("no error of a session that ended")
	}
}

// ending is a Packages of a session that ended.
type ending struct{}

func (ending) TakePackage(_ *proto.OtaPackageUpdateMsg, _ int, text func() io.Reader) func() (bool, error) {
	if n, err := io.Copy(io.Discard, text()); n != 0 || err == nil {
		panic("it is read on")
	}
	return nil
}

// A message of which packages are taken out is what the library makes of it, or is refused.
func FuzzPackages(f *testing.F) {
	large := strings.Repeat("QUJD", largePackage/4)
	good := otaMessage(large)
	at := bytes.Index(good, []byte(large[:100]))
	f.Add(good[:at], good[at+len(large):], uint16(1000))
	f.Add(good[:at], []byte{}, uint16(7))
	f.Add([]byte{0x1a, 0xff, 0xff, 3, 0xb2, 1, 0xff, 0xff, 3, 0x92, 1, 0xff, 0xff, 3}, []byte{0x1a, 0}, uint16(9000))
	f.Fuzz(func(t *testing.T, before, behind []byte, piece uint16) {
		b := append(append(before[:len(before):len(before)], large...), behind...)
		got, _, _, err := took(t, b, int(piece)+1)
		var want proto.ResponseMsg
		if wantErr := pb.Unmarshal(b, &want); err != nil || wantErr != nil {
			if err == nil {
				t.Errorf("taken, but %v", wantErr)
			}
			return
		}
		less := func(m *proto.ResponseMsg) *proto.ResponseMsg { // the order of packages may change
			if m.DownlinkMsg != nil {
				m.DownlinkMsg.OtaPackageUpdateMsg = nil
			}
			return m
		}
		if !pb.Equal(less(got), less(&want)) {
			t.Errorf("%v, want %v", got, &want)
		}
	})
}

// opened is a session with a cloud in a box, and its edge. p may be nil.
func opened(t *testing.T, most int, p Packages, holding func(int64)) (*cloudtest.Cloud, *session) {
	t.Helper()
	tenant := cloudtest.NewTenant()
	tenant.AddEdge(cloudtest.Edge{ID: tenant.NewID(), Name: "e", RoutingKey: "key", Secret: "secret"})
	cloud := cloudtest.New(cloudtest.Options{Tenant: tenant, Seed: 1})
	wires := rig.NewLink()
	go cloud.Serve(wires)
	c := config.Defaults()
	c.Cloud.RoutingKey = "key"
	d := Dialer{
		Cloud: c.Cloud, Keepalive: c.Keepalive, MaxInbound: most, Packages: p, Holding: holding, Dial: wires.Dial,
	}
	s, err := d.Open(t.Context(), "secret", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		<-s.Done()
		cloud.Stop()
		wires.Close()
	})
	return cloud, s.(*session)
}

// heapOf is what lives in memory, in bytes.
func heapOf() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// measuring decodes the data of packages as the registry does, and measures the heap at its end.
type measuring struct {
	keep bool
	most int64
}

func (p *measuring) TakePackage(_ *proto.OtaPackageUpdateMsg, _ int, text func() io.Reader) func() (bool, error) {
	if p.keep {
		r := text()
		_, _ = io.CopyN(io.Discard, r, 1000) // what stands before the data is shorter
		n, _ := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, skipQuotes{r}))
		_ = n
	}
	p.most = max(p.most, heapOf())
	return func() (bool, error) { return p.keep, nil }
}

// skipQuotes reads base64 until the quote behind it.
type skipQuotes struct{ r io.Reader }

func (s skipQuotes) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if i := bytes.IndexByte(b[:n], '"'); i >= 0 {
		return i, io.EOF
	}
	return n, err
}

// A package of the announced size costs its own size and 2 MB while it is here, whether it is kept
// or not, and nothing afterwards. What the transport holds is reported, and forgotten at the end.
func TestMemoryOfPackages(t *testing.T) {
	const most = 16 << 20
	for _, keep := range []bool{false, true} {
		p := &measuring{keep: keep}
		told := make(chan int64, 1000)
		cloud, s := opened(t, most, p, func(bytes int64) { told <- bytes })
		data := make([]byte, (most-2<<10)/4*3)
		for range 2 {
			p.most = 0
			m := cloudtest.Package{Title: "fw", Version: "1", Data: data}
			cloud.SilenceDownlinks(true)
			cloud.UploadPackage(m) // its message is in memory from here on, as it is in the cloud
			before := heapOf()
			cloud.SilenceDownlinks(false)
			for in := range s.Inbox() {
				if in.Err != nil {
					t.Fatal(in.Err)
				}
				packages := len(in.Packages)
				s.Send(proto.AppendDownlinkResponse(nil, in.Msg.GetDownlinkMsg().GetDownlinkMsgId(), ""))
				in.Handled()
				if packages == 1 {
					break
				}
			}
			size := int64(len(data)/3*4 + 1<<10)
			if cost := p.most - before; cost > size+2e6 || cost < size/2 {
				t.Errorf("keep %t: a message of some %d bytes costs %d", keep, size, cost)
			}
			if left := heapOf() - before; left > 1<<20 {
				t.Errorf("keep %t: %d bytes are left", keep, left)
			}
		}
		top, last := int64(0), int64(0)
		for len(told) > 0 {
			last = <-told
			top = max(top, last)
		}
		if top < most-holdingStep || top > most+2*holdingStep || last > holdingStep {
			t.Errorf("reported: at most %d, at last %d", top, last)
		}
		if s.Heard().IsZero() || time.Since(s.Heard()) > time.Minute {
			t.Errorf("heard at %v", s.Heard())
		}
	}
}

// A message that holds a large package and much else is left out: it would cost both at a time.
func TestPackageBesideMuchElse(t *testing.T) {
	text := strings.Repeat("x", InboxBytes)
	b := mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
		DownlinkMsgId:      5,
		DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{Entity: text}}, OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{Entity: text}},
	}})
	s := &session{
		stream: &streamOf{b: b}, packages: &readAll{t: t}, held: held{freed: make(chan struct{}, 1)},
	}
	in := s.next(t.Context(), new(wire))
	if in.Err != nil || !in.TooLarge || in.Msg.DownlinkMsg.DownlinkMsgId != 5 || len(in.Packages) != 0 {
		t.Errorf("%+v", in)
	}
}

// Buffers beyond what is pooled are as long as they have to be, and what they hold is counted; the
// bytes of a large message count as heard, those of others do not.
func TestBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int64
		b := newBuffers(func(bytes int64) { told = append(told, bytes) })
		var list []*[]byte
		take := func(n, length int) {
			for range n {
				buf := b.Get(length)
				if len(*buf) != length {
					t.Fatalf("%d bytes, want %d", len(*buf), length)
				}
				list = append(list, buf)
			}
		}
		time.Sleep(time.Second)
		take(16, 16<<10)
		if !b.heard().IsZero() {
			t.Error("what the window holds is no large message")
		}
		take(2, 16<<10)
		if d := time.Since(b.heard()); d != 0 {
			t.Errorf("heard %v ago", d)
		}
		take(100, 16<<10)
		take(1, 5000)
		if n := cap(*list[len(list)-1]); n >= 6000 {
			t.Errorf("a frame of 5000 bytes takes %d", n)
		}
		time.Sleep(3 * time.Second)
		if d := time.Since(b.heard()); d != 3*time.Second {
			t.Errorf("heard %v ago", d)
		}
		take(300, 16<<10)
		for _, buf := range list {
			*buf = (*buf)[:1] // a padded frame comes back shorter
			b.Put(buf)
		}
		if held := b.held.Load(); held != 0 {
			t.Errorf("%d bytes are held", held)
		}
		if len(told) != 4 || told[0] != holdingStep || told[1] != 2*holdingStep || told[3] != 0 {
			t.Errorf("told %v", told)
		}
		take(1, 2000)
		b.forget()
		take(1000, 16<<10)
		if n := len(told); n != 6 || told[5] != 0 {
			t.Errorf("told %v", told)
		}
	})
	var _ mem.BufferPool = (*buffers)(nil)
}
