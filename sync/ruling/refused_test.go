package ruling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/sync/rest"
	"edgesync/wal"
)

// Chains whose nodes remember something. "t" is the value of the message, from 0 to 9.
var remembering = []struct {
	name  string
	nodes []string
	links []string
}{
	{"delta", []string{
		`metadata.CalculateDeltaNode|d|{"inputValueKey":"t","outputValueKey":"d","useCache":true,` +
			`"addPeriodBetweenMsgs":true,"periodValueKey":"p"}`,
		pushNode,
	}, []string{"0>1:Success"}},
	{"delta of the latest value", []string{
		`metadata.CalculateDeltaNode|d|{"inputValueKey":"t","outputValueKey":"d","useCache":false}`, saveNode, pushNode,
	}, []string{"0>1:Success", "1>2:Success"}},
	{"geofencing", []string{
		`geo.TbGpsGeofencingActionNode|g|{"latitudeKeyName":"t","longitudeKeyName":"t","perimeterType":"CIRCLE","centerLatitude":4,` +
			`"centerLongitude":4,"range":300,"rangeUnit":"KILOMETER","minInsideDuration":1,"minInsideDurationTimeUnit":"SECONDS",` +
			`"minOutsideDuration":1,"minOutsideDurationTimeUnit":"SECONDS"}`, pushNode,
	}, []string{"0>1:Entered", "0>1:Left", "0>1:Inside"}},
	{"saved now and then", []string{
		`telemetry.TbMsgTimeseriesNode|save|{"processingSettings":{"type":"DEDUPLICATE","deduplicationIntervalSecs":3}}`,
		`metadata.CalculateDeltaNode|d|{"inputValueKey":"t","outputValueKey":"d","useCache":false}`, pushNode,
	}, []string{"0>1:Success", "1>2:Success"}},
	{"told of a change", []string{
		switchNode,
		`transform.TbTransformMsgNode|high|{"scriptLang":"TBEL","tbelScript":"return {msg: {high: msg.t > 4}, metadata: metadata, ` +
			`msgType: 'POST_ATTRIBUTES_REQUEST'};"}`,
		`telemetry.TbMsgAttributesNode|keep|{"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope":"SERVER_SCOPE",` +
			`"sendAttributesUpdatedNotification":true,"updateAttributesOnlyOnValueChange":true}`,
		serverNode,
	}, []string{"0>1:Post telemetry", "1>2:Success", "0>3:Attributes Updated"}},
	{"report by exception", []string{
		`metadata.TbGetAttributesNode|was|{"fetchTo":"METADATA","serverAttributeNames":["was"]}`,
		`filter.TbJsFilterNode|moved|{"scriptLang":"TBEL","tbelScript":"return metadata.ss_was == null ` +
			`|| msg.t - parseInt(metadata.ss_was) > 2 || parseInt(metadata.ss_was) - msg.t > 2;"}`,
		`edge.TbMsgPushToCloudNode|push|{"scope":"CLIENT_SCOPE"}`,
		`transform.TbTransformMsgNode|remember|{"scriptLang":"TBEL","tbelScript":"return {msg: {was: msg.t}, metadata: metadata, ` +
			`msgType: 'POST_ATTRIBUTES_REQUEST'};"}`,
		`telemetry.TbMsgAttributesNode|keep|{"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope":"SERVER_SCOPE"}`,
	}, []string{"0>1:Success", "1>2:True", "2>3:Success", "3>4:Success"}},
	{"alarms", []string{
		hotOrCold,
		`action.TbCreateAlarmNode|create|{"alarmType":"hot","severity":"MAJOR","scriptLang":"TBEL",` +
			`"alarmDetailsBuildTbel":"return {n: msg.t};"}`,
		`action.TbClearAlarmNode|clear|{"alarmType":"hot","scriptLang":"TBEL","alarmDetailsBuildTbel":"return {n: msg.t};"}`,
		serverNode,
	}, []string{"0>1:True", "0>2:False", "1>3:Created", "2>3:Cleared"}},
	{"relation", []string{
		hotOrCold,
		`action.TbCreateRelationNode|relate|{"direction":"FROM","relationType":"Hot","entityType":"DEVICE","entityNamePattern":"pump 2"}`,
		`action.TbDeleteRelationNode|part|{"deleteForSingleEntity":true,"direction":"FROM","relationType":"Hot","entityType":"DEVICE",` +
			`"entityNamePattern":"pump 2"}`,
	}, []string{"0>1:True", "0>2:False"}},
	{"window", []string{
		`filter.TbMsgTypeFilterNode|all|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`,
		`deduplication.TbMsgDeduplicationNode|window|{"interval":5,"strategy":"ALL","outMsgType":"POST_TELEMETRY_REQUEST"}`,
		`transform.TbTransformMsgNode|sum|{"scriptLang":"TBEL","tbelScript":"var s = ''; foreach (m : msg) { s = s + ',' + m.msg.t; } ` +
			`return {msg: {all: s}, metadata: metadata, msgType: msgType};"}`,
		pushNode, `edge.TbMsgPushToCloudNode|raw|{"scope":"CLIENT_SCOPE"}`,
	}, []string{"0>1:True", "0>4:True", "1>2:Success", "2>3:Success"}},
	{"delay", []string{
		`filter.TbMsgTypeFilterNode|all|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`,
		`delay.TbMsgDelayNode|delay|{"periodInSeconds":2,"maxPendingMsgs":100}`,
		pushNode, `edge.TbMsgPushToCloudNode|raw|{"scope":"CLIENT_SCOPE"}`,
	}, []string{"0>1:True", "0>3:True", "1>2:Success"}},
	{"count", []string{
		switchNode, `action.TbMsgCountNode|count|{"interval":4,"telemetryPrefix":"n"}`, pushNode,
	}, []string{"0>1:Post telemetry", "0>2:Post telemetry", "1>2:Success"}},
}

const hotOrCold = `filter.TbJsFilterNode|hot|{"scriptLang":"TBEL","tbelScript":"return msg.t > 4;"}`

var errFull = errors.New("the queue is full")

// refusals is how the queue refuses a message before it takes it.
type refusals func(g *rig, rnd *rand.Rand, list []proto.Event)

// A message that the queue refuses, and that the device therefore sends again, leaves no trace:
// what comes of all messages is what comes of them without a refusal, and the sums are the same.
func TestRefusedMessagesLeaveNoTrace(t *testing.T) {
	refuse := func(g *rig, list []proto.Event, late bool) {
		out, finish, err := g.Take(list)
		if err != nil || finish == nil {
			g.Fatal(err)
		}
		if len(out) == 0 { // it does not go to the queue
			g.Fatal("nothing is left to refuse")
		}
		var done chan error
		if !late {
			err = finish(errFull, nil)
		} else {
			done = make(chan error, 1)
			_ = finish(errFull, func(err error) { done <- err })
			err = <-done
		}
		if !errors.Is(err, errFull) {
			g.Errorf("refused with %v", err)
		}
	}
	ways := map[string]refusals{
		"": func(*rig, *rand.Rand, []proto.Event) {},
		"at once": func(g *rig, rnd *rand.Rand, list []proto.Event) {
			for range rnd.IntN(3) {
				refuse(g, list, false)
			}
		},
		"by the queue's goroutine": func(g *rig, rnd *rand.Rand, list []proto.Event) {
			for range rnd.IntN(3) {
				refuse(g, list, true)
			}
		},
		"two on their way": func(g *rig, rnd *rand.Rand, list []proto.Event) {
			_, first, err := g.Take(list)
			_, second, err2 := g.Take(events(g, 1, fmt.Sprintf(`{"t":%d}`, rnd.IntN(10))))
			if err != nil || err2 != nil {
				g.Fatal(err, err2)
			}
			if first(errFull, nil) == nil || second(errFull, nil) == nil {
				g.Error("not refused")
			}
		},
	}
	for _, c := range remembering {
		run := func(t *testing.T, how string) (queue []string, sums Counts) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.Options.Latest = rest.NewLatest(new(clock.Clock))
				g.readsLatest.Store(true)
				g.chain(chainID, true, c.nodes, c.links...)
				defer g.close(false) // once mu is free
				g.Start()
				synctest.Wait()
				rnd, other := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(8, 8))
				for range 40 {
					list := events(t, 1, fmt.Sprintf(`{"t":%d}`, rnd.IntN(10)))
					out, finish, err := g.Take(list)
					if len(out) > 0 && how != "" { // what leaves no event is not refused
						if err := finish(errFull, nil); !errors.Is(err, errFull) {
							t.Errorf("refused with %v", err)
						}
						ways[how](g, other, list)
						out, finish, err = g.Take(list)
						if len(out) == 0 {
							t.Error("the message makes no event where it made one")
						}
					}
					if err != nil {
						t.Fatal(err)
					}
					for i := range out {
						e := &out[i]
						err := g.Append(t.Context(), wal.Event{
							Kind: uint8(e.Kind), Action: uint8(e.Action), Entity: e.Entity, Fragment: slices.Clone(e.Fragment),
						})
						if err != nil {
							t.Error(err)
						}
					}
					if err := finish(nil, nil); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				g.mu.Lock()
				defer g.mu.Unlock()
				for i := range g.queue {
					e := &g.queue[i]
					f, ok := open(e.Fragment)
					text := fmt.Sprintf("%d %d ", e.Kind, e.Action)
					if ok {
						text += string(f.appendJSON(nil))
					}
					queue = append(queue, text)
				}
				sums = g.Counts()
			})
			return queue, sums
		}
		t.Run(c.name, func(t *testing.T) {
			want, sums := run(t, "")
			if len(want) < 10 {
				t.Fatalf("%d events: %q", len(want), want)
			}
			for how := range ways {
				got, other := run(t, how)
				if !slices.Equal(got, want) {
					t.Errorf("refused %s:\n%q, want\n%q", how, got, want)
				}
				sums.Failed, other.Failed = 0, 0
				if other != sums {
					t.Errorf("refused %s: %+v, want %+v", how, other, sums)
				}
			}
		})
	}
}
