package rules

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// The scripts of a round read all its messages in the same memory, and the next round has it. What
// a node holds, and what takes another way through the chain meanwhile, keeps its values.

// double makes new data of the message.
var double = tbel("transform.TbTransformMsgNode", "double", "msg.v = msg.t * 2; return {msg: msg};")

const (
	delayed = `delay.TbMsgDelayNode|delay|{"periodInSeconds":10}`
	great   = `filter.TbJsFilterNode|great|{"scriptLang":"TBEL","tbelScript":"return msg.v > 30;"}`
)

func TestHeldBesideOthers(t *testing.T) {
	post := func(e *Trial, from int) {
		for i := range 4 { // the texts have one length: each lies where the former one did
			want(t, e.post(t, from+i, fmt.Sprintf(`{"t":%d}`, 14+i)), "")
		}
	}
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{double, delayed, great, push}, "0>1:Success", "1>2:Success", "2>3:True")
	post(e, 0)
	want(t, e.send(t, 10_002, deviceID, "", ""), `cloud {"t":16,"v":32}`)
	want(t, e.post(t, 10_002, `{"t":90}`), ``)
	want(t, e.send(t, 30_000, deviceID, "", ""), `cloud {"t":17,"v":34}; cloud {"t":90,"v":180}`)

	e = testEdge(t, Options{})
	e.chain(t, rootID, true, []string{double, great, minute, push}, "0>1:Success", "1>2:True", "2>3:Success")
	post(e, 0)
	want(t, e.send(t, 70_000, deviceID, "", ""), `cloud [{"msg":{"t":16,"v":32},"metadata":{"ts":"1767225600002"}},`+
		`{"msg":{"t":17,"v":34},"metadata":{"ts":"1767225600003"}}]`)
}

// TestCopiesBesideEachOther: two branches change the message, and scripts then read it in turns.
func TestCopiesBesideEachOther(t *testing.T) {
	mark := func(name string) string {
		return tbel("transform.TbTransformMsgNode", name, "msg.w = '"+name+"'; return {msg: msg};")
	}
	is := func(name string) string { return tbel("filter.TbJsFilterNode", name, "return msg.w == '"+name+"';") }
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{ack, mark("a"), mark("b"), is("a"), is("b"), is("a"), is("b"), push},
		"0>1:Success", "0>2:Success", "1>3:Success", "1>4:Success", "2>5:Success", "2>6:Success",
		"3>7:True", "4>7:True", "5>7:True", "6>7:True")
	want(t, e.post(t, 0, `{"t":1}`), `cloud {"t":1,"w":"a"}; cloud {"t":1,"w":"b"}`)
}

// TestManyHeldBesideOthers: the same with many goroutines, for the race detector.
func TestManyHeldBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, each = 16, 50
		q := &quiet{Trial: testEdge(t, Options{}), pushed: map[Entity][]string{}}
		e := New(q, q, Options{Now: func() int64 { return time.Now().UnixMilli() }})
		if err := e.Head([]byte(`{"id":{"id":"` + rootID + `"},"root":true}`)); err != nil {
			t.Fatal(err)
		}
		chain := metadataOf(rootID, []string{double, delayed, great, push}, "0>1:Success", "1>2:Success", "2>3:True")
		if _, err := e.Metadata(chain); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var posts, run sync.WaitGroup
		run.Go(func() { e.Run(ctx, nil) })
		want := map[Entity][]string{}
		for d := range devices {
			who := Entity{"DEVICE", proto.UUID{15: byte(d)}}
			for i := range each {
				if i > 15 { // v is above 30
					want[who] = append(want[who], fmt.Sprintf(`{"t":%d,"d":%d,"v":%d}`, i, d, 2*i))
				}
			}
			posts.Go(func() {
				for i := range each {
					m := &Message{Type: PostTelemetry, Originator: who, Data: fmt.Sprintf(`{"t":%d,"d":%d}`, i, d)}
					if known, err := e.Handle(m, nil); !known || err != nil {
						t.Error(known, err)
					}
				}
			})
		}
		posts.Wait()
		time.Sleep(11 * time.Second)
		stop()
		run.Wait()
		for who, list := range want {
			if got := q.pushed[who]; !slices.Equal(got, list) {
				t.Errorf("%v: %q, want %q", who, got, list)
			}
		}
	})
}
