package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// Ids of the recorded server.
var (
	tapeTenant        = mustUUID("e54b4450-e76e-11f1-a921-83a0d2e65086")
	tapeDeviceProfile = mustUUID("e55f4180-e76e-11f1-a921-83a0d2e65086")
	tapeAssetProfile  = mustUUID("e5725450-e76e-11f1-a921-83a0d2e65086")
)

func mustUUID(s string) proto.UUID {
	id, ok := proto.ParseUUID(s)
	if !ok {
		panic(s)
	}
	return id
}

// player plays one recording to a tenant that is prepared like the recorded one.
type player struct {
	t      *testing.T
	name   string
	tenant *Tenant
	edge   proto.UUID
	base   time.Time
	step   string

	replayed, noAnswer, cut, checked int
	outcomes                         []Outcome // of the current step
}

func newPlayer(t *testing.T, name string) *player {
	return newPlayerOf(t, name, tapeTenant, tapeDeviceProfile, tapeAssetProfile)
}

// newPlayerOf is newPlayer for a tenant and default profiles of these ids.
func newPlayerOf(t *testing.T, name string, tenant, deviceProfile, assetProfile proto.UUID) *player {
	p := &player{t: t, name: name, tenant: newTenant(tenant)}
	p.tenant.SetWidgetTypes(30)
	for _, x := range []struct {
		typ     entityType
		id      *proto.UUID
		to      proto.UUID
		created string
	}{
		{typeDeviceProfile, &p.tenant.deviceProfile, deviceProfile, "1795459890584"},
		{typeAssetProfile, &p.tenant.assetProfile, assetProfile, "1795459890709"},
	} {
		r := p.tenant.find(x.typ, *x.id)
		p.tenant.remove(r.ref)
		r.id = x.to
		r.set("createdTime", x.created)
		p.tenant.insert(r)
		*x.id = x.to
	}
	return p
}

func (p *player) errorf(l tapeLine, format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s:%d (%s): "+format, append([]any{p.name, l.Line, p.step}, args...)...)
}

func (p *player) now(l tapeLine) time.Time {
	return p.base.Add(time.Duration(l.MS * float64(time.Millisecond)))
}

// unchecked are the recorded answers whose cause is not among the recorded frames.
var unchecked = map[string]string{
	"uplink-attributes:160": "46 of the 50 updates before it are left out of the recording",
	"uplink-attributes:174": "46 of the 50 posts before it are left out of the recording",
	"uplink-order:246":      "490 of the 500 uplinks before it are left out of the recording",
	"uplink-order:267":      "490 of the 500 uplinks before it are left out of the recording",
	"uplink-order:268":      "as above, the attributes among them",
}

func (p *player) play(lines []tapeLine) {
	for i, l := range lines {
		switch {
		case l.Up != nil:
			p.up(l, lines[i+1:])
		case l.Note == "scenario":
			var s struct {
				Date time.Time `json:"date"`
			}
			if err := json.Unmarshal(l.JSON, &s); err != nil {
				p.t.Fatal(err)
			}
			p.base = s.Date
		case l.Note == "step":
			p.noMoreEvents(l)
			p.step = text(l.JSON)
			p.outcomes = nil
		case l.Note == "accepted":
			var c proto.EdgeConfiguration
			if err := protoJSON(l.JSON, &c); err != nil {
				p.t.Fatal(err)
			}
			p.edge = proto.UUIDOf(c.EdgeIdMSB, c.EdgeIdLSB)
			if got := p.tenant.Configuration(p.edge); !pb.Equal(got, &c) {
				p.errorf(l, "configuration %v, want %v", got, &c)
			}
		case l.Down != "" && p.name == "uplink-requests":
			p.down(l)
		case strings.HasPrefix(l.Note, "rest GET "):
			p.get(l)
		case strings.HasPrefix(l.Note, "rest "):
			p.change(l)
		}
	}
}

// noMoreEvents checks that a step of requests left no event that the recording does not have.
func (p *player) noMoreEvents(l tapeLine) {
	if p.name != "uplink-requests" || incomparable[p.step] != "" {
		return
	}
	for _, out := range p.outcomes {
		if len(out.Events) > 0 {
			p.errorf(l, "%d events too many: %v", len(out.Events), out.Events)
		}
	}
}

// protoJSON reads the members of an EdgeConfiguration that the recordings use.
func protoJSON(raw json.RawMessage, c *proto.EdgeConfiguration) error {
	var o struct {
		EdgeIDMSB     int64  `json:"edgeIdMSB,string"`
		EdgeIDLSB     int64  `json:"edgeIdLSB,string"`
		TenantIDMSB   int64  `json:"tenantIdMSB,string"`
		TenantIDLSB   int64  `json:"tenantIdLSB,string"`
		CustomerIDMSB int64  `json:"customerIdMSB,string"`
		CustomerIDLSB int64  `json:"customerIdLSB,string"`
		Name          string `json:"name"`
		Type          string `json:"type"`
		RoutingKey    string `json:"routingKey"`
		Secret        string `json:"secret"`
		Info          string `json:"additionalInfo"`
		CloudType     string `json:"cloudType"`
	}
	err := json.Unmarshal(raw, &o)
	c.EdgeIdMSB, c.EdgeIdLSB, c.TenantIdMSB, c.TenantIdLSB = o.EdgeIDMSB, o.EdgeIDLSB, o.TenantIDMSB, o.TenantIDLSB
	c.CustomerIdMSB, c.CustomerIdLSB, c.Name, c.Type = o.CustomerIDMSB, o.CustomerIDLSB, o.Name, o.Type
	c.RoutingKey, c.Secret, c.AdditionalInfo, c.CloudType = o.RoutingKey, o.Secret, o.Info, o.CloudType
	return err
}

// up processes an uplink and compares the answer with the next recorded one of the same id.
func (p *player) up(l tapeLine, rest []tapeLine) {
	raw, err := base64.StdEncoding.DecodeString(*l.Up)
	if err != nil {
		p.cut++
		return
	}
	var m proto.RequestMsg
	if err := pb.Unmarshal(raw, &m); err != nil || m.UplinkMsg == nil {
		p.t.Fatalf("%s:%d: no uplink: %v", p.name, l.Line, err)
	}
	out := p.tenant.Process(p.edge, m.UplinkMsg, p.now(l))
	p.outcomes = append(p.outcomes, out)
	for _, a := range rest {
		if a.Answer == nil || a.Answer.ID != m.UplinkMsg.UplinkMsgId {
			continue
		}
		p.replayed++
		if out.Never || out.Success != a.Answer.Success {
			p.errorf(l, "success %t (never %t, %q), want %t (%q)", out.Success, out.Never, out.Error, a.Answer.Success, a.Answer.Error)
			return
		}
		line, trace, _ := strings.Cut(out.Error, "\n")
		if line != a.Answer.Error {
			p.errorf(l, "error\n%q, want\n%q", line, a.Answer.Error)
		}
		if line != "" && strings.Count(trace, "\n") < 2 {
			p.errorf(l, "no stack trace behind %q", out.Error)
		}
		return
	}
	// The recording leaves out answers where hundreds alike succeeded; one answer never came.
	p.noAnswer++
	if never := p.step == "a PostTelemetryMsg without lists"; out.Never != never || out.Success == never {
		p.errorf(l, "never %t, success %t, %q; want never %t", out.Never, out.Success, out.Error, never)
	}
}

// incomparable are the steps whose downlinks hold content that no REST call of the recording shows.
var incomparable = map[string]string{
	"attributes request for the edge":                                               "the attributes of an edge are written by its session",
	"user credentials request":                                                      "the activation token was made by the server",
	"widget bundle types request (SCADA symbols)":                                   "the widget bundles of the box are its own",
	"history: attributes, telemetry at three times, a relation, a calculated field": "caused over REST, not by an uplink",
}

// down compares a recorded downlink with the next event of the uplinks of this step.
func (p *player) down(l tapeLine) {
	if incomparable[p.step] != "" {
		return
	}
	raw, err := base64.StdEncoding.DecodeString(l.Down)
	if err != nil {
		p.t.Fatal(err)
	}
	var m proto.ResponseMsg
	if err := pb.Unmarshal(raw, &m); err != nil {
		p.t.Fatal(err)
	}
	if len(p.outcomes) == 0 {
		p.errorf(l, "a downlink before any uplink")
		return
	}
	out := &p.outcomes[len(p.outcomes)-1]
	if len(out.Events) == 0 {
		p.errorf(l, "no event, want %v", m.DownlinkMsg)
		return
	}
	want, have := m.DownlinkMsg, out.Events[0]
	out.Events = out.Events[1:]
	want.DownlinkMsgId = 0
	for _, d := range append(slices.Clone(want.EntityData), have.EntityData...) {
		// Attributes without a time are stamped when they are sent.
		if d.AttributeTs != nil || d.AttributesUpdatedMsg != nil {
			d.AttributeTs = new(int64)
		}
	}
	for _, x := range []*proto.DownlinkMsg{want, have} {
		for _, text := range entitiesOf(x) {
			c, err := canonical(json.RawMessage(*text))
			if err != nil {
				p.errorf(l, "%v in %s", err, *text)
			}
			*text = string(c)
		}
	}
	if !pb.Equal(want, have) {
		p.errorf(l, "event\n%v, want\n%v", have, want)
	}
	p.checked++
}

// entitiesOf lists the JSON texts of the messages with which the server answers requests.
func entitiesOf(m *proto.DownlinkMsg) (texts []*string) {
	for _, x := range m.RelationUpdateMsg {
		texts = append(texts, &x.Entity)
	}
	for _, x := range m.CalculatedFieldUpdateMsg {
		texts = append(texts, &x.Entity)
	}
	for _, x := range m.RuleChainMetadataUpdateMsg {
		texts = append(texts, &x.Entity)
	}
	for _, x := range m.DeviceCredentialsUpdateMsg {
		texts = append(texts, &x.Entity)
	}
	for _, x := range m.EntityViewUpdateMsg {
		texts = append(texts, &x.Entity)
	}
	return texts
}

// TestReplay processes every uplink of the recordings of the test edge with a tenant that is
// prepared as the server was, and compares each answer and everything that the recording read back
// afterwards (CONTRACT.md 11). The names of the steps say what each shows.
func TestReplay(t *testing.T) {
	for _, tape := range []struct {
		name string
		// Uplinks whose answer was compared, whose answer was left out or never came, and whose
		// payload was cut.
		replayed, noAnswer, cut int
		checked                 int // values and entities read back
	}{
		{"empty-uplink", 23, 0, 0, 0},
		{"ts-types", 25, 0, 0, 417},
		{"edge-update", 2, 0, 0, 1},
		{"uplink-telemetry", 13, 1, 0, 46},
		{"uplink-attributes", 30, 4, 0, 137},
		{"uplink-device", 16, 0, 0, 16},
		{"uplink-entities", 26, 0, 0, 21},
		{"uplink-alarm", 20, 0, 0, 20},
		{"uplink-relation", 8, 0, 0, 8},
		{"uplink-requests", 17, 0, 0, 25},
		{"uplink-rpc", 6, 0, 0, 3},
		{"uplink-order", 12, 125, 0, 57},
		{"uplink-bad", 30, 0, 0, 19},
	} {
		t.Run(tape.name, func(t *testing.T) {
			p := newPlayer(t, tape.name)
			p.play(readTape(t, tape.name))
			if p.replayed != tape.replayed || p.noAnswer != tape.noAnswer || p.cut != tape.cut || p.checked != tape.checked {
				t.Errorf("replayed, without answer, cut, checked = %d, %d, %d, %d; want %d, %d, %d, %d",
					p.replayed, p.noAnswer, p.cut, p.checked, tape.replayed, tape.noAnswer, tape.cut, tape.checked)
			}
		})
	}
}

// TestReplayJavaEdge processes the uplinks of a Java edge: all succeed, as recorded.
func TestReplayJavaEdge(t *testing.T) {
	p := newPlayer(t, "java-edge")
	p.base = time.UnixMilli(1795463556803)
	p.edge = mustUUID("52662cd0-e76f-11f1-814e-4d5cb1db8aab")
	p.tenant.AddEdge(Edge{ID: p.edge, Name: "java", RoutingKey: "k", Secret: "s"})
	lines := readTape(t, "java-edge")
	for _, l := range lines {
		if l.Down == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(l.Down)
		if err != nil {
			t.Fatal(err)
		}
		var m proto.ResponseMsg
		if err := pb.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		// The device that the cloud assigned to the edge.
		p.insert(l, json.RawMessage(m.DownlinkMsg.DeviceUpdateMsg[0].Entity))
	}
	p.play(lines)
	if p.replayed != 44 || p.noAnswer != 0 || p.cut != 0 {
		t.Errorf("replayed, without answer, cut = %d, %d, %d; want 44, 0, 0", p.replayed, p.noAnswer, p.cut)
	}
	if got := p.tenant.Series(mustUUID("6e9be130-e777-11f1-a01d-1d06ed9e169e"), "a"); len(got) != 3 || got[0].TS != 1767225601000 {
		t.Errorf("series a = %+v", got)
	}
	if got := p.tenant.Arrivals(mustUUID("6e9be130-e777-11f1-a01d-1d06ed9e169e"), "a"); !slices.Equal(got,
		[]int64{1767225602000, 1767225601000, 1767225603000}) {
		t.Errorf("arrivals of a = %v", got)
	}
}
