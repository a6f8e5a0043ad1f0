package cloudtest

import (
	"fmt"
	"math"
	"time"

	"edgesync/proto"
)

// longSync is the fault of LongSync; zero: off.
type longSync struct {
	entities int
	lasting  time.Duration
}

// Flood sends every connected edge what f makes, as fast as the edge takes it, and waits for no
// acknowledgement: a server out of order. Everything else goes on beside it. f is called from
// several goroutines; nil ends the fault.
func (c *Cloud) Flood(f func() *proto.DownlinkMsg) {
	set(&c.faults, &c.faults.floodWith, f)
	if f == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.session != nil {
			c.flood(l.session)
		}
	}
}

// flood begins to flood a session unless that is under way. The caller holds c.mu.
func (c *Cloud) flood(s *session) {
	if s.flooding || get(&c.faults, &c.faults.floodWith) == nil {
		return
	}
	s.flooding = true
	c.work.Add(1)
	go s.flooded()
}

func (s *session) flooded() {
	c := s.cloud
	defer c.work.Done()
	for {
		f := get(&c.faults, &c.faults.floodWith)
		if f == nil {
			c.mu.Lock()
			again := get(&c.faults, &c.faults.floodWith) != nil
			s.flooding = again
			c.mu.Unlock()
			if !again {
				return
			}
			continue
		}
		b, err := downlinkFrame(c.randomID(), f())
		if err != nil {
			c.log.Error("downlink left out", "error", err)
			return
		}
		c.seen.downlinks.Add(1)
		select {
		case s.floods <- b:
		case <-s.done:
			return
		}
	}
}

// LongSync makes every sync bring that many assets more, each with an id of its own, which no other
// sync brings; lasting ends them early. 0 is no bound: with none at all such a sync does not end
// while the fault lasts. LongSync(-1, 0) ends the fault, and a sync that runs goes on to its end.
func (c *Cloud) LongSync(entities int, lasting time.Duration) {
	fault := longSync{entities, lasting}
	if entities == 0 && lasting == 0 {
		fault.entities = math.MaxInt
	} else if entities < 0 {
		fault = longSync{}
	}
	set(&c.faults, &c.faults.longSync, fault)
}

// lengthen sends the assets of LongSync. It returns false if the stream ended.
func (s *session) lengthen() bool {
	c := s.cloud
	began := time.Now()
	for sent := 0; ; {
		f := get(&c.faults, &c.faults.longSync)
		over := f == longSync{} || f.entities > 0 && sent >= f.entities || f.lasting > 0 && time.Since(began) >= f.lasting
		if over {
			return true
		}
		n := pageSize
		if f.entities > 0 {
			n = min(n, f.entities-sent)
		}
		page := make([]*proto.DownlinkMsg, n)
		for i := range page {
			id := c.randomUUID()
			m := &proto.AssetUpdateMsg{MsgType: created, Entity: fmt.Sprintf(
				`{"id":{"entityType":"ASSET","id":%q},"name":"asset %x","type":"default"}`, proto.FormatUUID(id), id[:6])}
			m.IdMSB, m.IdLSB = proto.Halves(id)
			page[i] = &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{m}}
		}
		if s.sendPack(page, false) == packOver {
			return false
		}
		sent += n
	}
}
