package rest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/wal"
)

// pageOfEvents is ThingsBoard's PageData of EdgeEvent.
type pageOfEvents struct {
	Data []struct {
		ID          struct{ ID string }
		CreatedTime int64
		SeqID       uint64 `json:"seqId"`
		TenantID    struct{ EntityType, ID string }
		EdgeID      struct{ EntityType, ID string }
		Action      string
		EntityID    string `json:"entityId"`
		UID         *string
		Type        string
		Body        struct{ Values map[string]any }
		EntityName  string
		Status      string
	}
	TotalPages, TotalElements int
	HasNext                   bool
}

// Events in ThingsBoard's form: page by page, the newest first or the oldest, by text and time.
func TestEventsInThingsBoardsForm(t *testing.T) {
	r := newRig(t)
	for n := range 10 {
		of := meter
		if n >= 7 {
			of = lamp
		}
		if a := r.send(root, "POST", "/api/plugins/telemetry/DEVICE/"+text(of)+"/timeseries/ANY",
			fmt.Sprintf(`{"n":%d}`, n)); a.status != 200 {
			t.Fatal(a.status, a.body)
		}
	}
	var offsets []uint64
	if err := r.reader.Read(func(e *wal.Entry) bool { offsets = append(offsets, e.Offset); return true }); err != nil ||
		len(offsets) != 10 {
		t.Fatal(err, offsets)
	}
	if err := r.queue.Commit(wal.Position{Offset: offsets[3], Seq: 4}, 4, 0); err != nil {
		t.Fatal(err)
	}
	ask := func(query string) (p pageOfEvents, got string) {
		t.Helper()
		a := r.send(root, "GET", "/api/edge/events?"+query, "")
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d, %s, %v", query, a.status, a.body, err)
		}
		for _, e := range p.Data {
			got += fmt.Sprint(e.Body.Values["n"], " ")
		}
		return p, fmt.Sprint(got, p.TotalPages, p.TotalElements, p.HasNext)
	}
	for query, want := range map[string]string{
		"pageSize=4&page=0": "9 8 7 6 3 10 true",
		"pageSize=4&page=2": "1 0 3 10 false",
		"pageSize=4&page=3": "3 10 false",
		"pageSize=4&page=1&sortOrder=ASC&sortProperty=createdTime": "4 5 6 7 3 10 true",
		"pageSize=10&page=0&textSearch=LAM":                        "9 8 7 1 3 false",
		"pageSize=2&page=0&textSearch=timeseries&sortOrder=DESC":   "9 8 5 10 true",
		"pageSize=2&page=0&textSearch=device":                      "9 8 5 10 true",
		"pageSize=2&page=0&textSearch=alarm":                       "0 0 false",
		"pageSize=2&page=0&endTime=1":                              "0 0 false",
		"pageSize=1&page=0&startTime=1":                            "9 10 10 true",
	} {
		if _, got := ask(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	p, _ := ask("pageSize=10&page=0&sortOrder=ASC")
	e := p.Data[3]
	if e.SeqID != offsets[3] || e.Type != "DEVICE" || e.Action != "TIMESERIES_UPDATED" || e.EntityID != text(meter) ||
		e.EntityName != "meter" ||
		e.EdgeID.ID != text(edge) || e.EdgeID.EntityType != "EDGE" || e.TenantID.ID != text(tenant) || e.CreatedTime == 0 ||
		e.Status != "DEPLOYED" || p.Data[4].Status != "PENDING" || len(e.ID.ID) != 36 || e.ID.ID == p.Data[4].ID.ID {
		t.Errorf("%+v", e)
	}
	for _, query := range []string{
		"pageSize=4", "pageSize=0&page=0", "pageSize=1&page=0&startTime=x", "pageSize=1&page=0&sortProperty=name",
		"pageSize=1&page=0&sortOrder=UP",
		"pageSize=1&page=0&textSearch=" + strings.Repeat("x", 200),
	} {
		if a := r.send(root, "GET", "/api/edge/events?"+query, ""); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d, %s", query, a.status, a.body)
		}
	}
	if a := r.send("", "GET", "/api/edge/events?pageSize=1&page=0", ""); a.status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", a.status)
	}
	if a := r.send(ours, "GET", "/api/edge/events?pageSize=1&page=0", ""); a.status != http.StatusForbidden {
		t.Errorf("a customer's user: %d", a.status)
	}
}

// What the cloud has sent of the edge, of its customer and of its rule chains is told.
func TestEdgeInfoInFull(t *testing.T) {
	r := newRig(t)
	c := r.reg.Edge()
	c = &proto.EdgeConfiguration{
		EdgeIdMSB: c.EdgeIdMSB, EdgeIdLSB: c.EdgeIdLSB, TenantIdMSB: c.TenantIdMSB, TenantIdLSB: c.TenantIdLSB,
		CustomerIdMSB: c.CustomerIdMSB, CustomerIdLSB: c.CustomerIdLSB, Name: "edge", Type: "default", RoutingKey: "key",
		AdditionalInfo: `{"description":"in the hall"}`,
	}
	if err := r.reg.SetEdge(c); err != nil {
		t.Fatal(err)
	}
	chain := func(n int, more string) *proto.RuleChainUpdateMsg {
		return &proto.RuleChainUpdateMsg{IdMSB: msb(n), IdLSB: lsb(n), Entity: `{"name":"chain"` + more + `}`}
	}
	r.apply(&proto.DownlinkMsg{
		RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{chain(71, ""), chain(72, `,"root":true`), chain(73, `,"root":false`)},
		CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{
			IdMSB: msb(customer), IdLSB: lsb(customer), Entity: `{"title":"Public","additionalInfo":{"isPublic":true}}`,
		}},
	})
	r.run([]step{{
		as: root, method: "GET", path: "/api/edge/info/" + text(edge), status: 200,
		want: `{"type":"default","routingKey":"key","secret":"***","label":null,"version":null,"customerTitle":"Public",` +
			`"customerIsPublic":true,"additionalInfo":{"description":"in the hall"},"rootRuleChainId":` + ref("RULE_CHAIN", 72) + `}`,
	}})
}

// This edge, and the order of a sync, as in the cloud.
func TestEdgeInfoAndSync(t *testing.T) {
	r := newRig(t)
	r.run([]step{
		{as: root, method: "GET", path: "/api/edge/info/" + text(edge), status: 200, want: "" +
			`{"id":` + ref("EDGE", edge) + `,"name":"edge","tenantId":` +
			ref("TENANT", tenant) + `,"customerId":` + ref("CUSTOMER", customer) + `,"secret":"***","customerTitle":"ours",` +
			`"customerIsPublic":false,"additionalInfo":null,"rootRuleChainId":null}`},
		{as: root, method: "GET", path: "/api/edge/info/" + text(77), status: 404},
		{as: root, method: "GET", path: "/api/edge/info/x", status: 400},
		{as: ours, method: "GET", path: "/api/edge/info/" + text(edge), status: 403},
		{as: "", method: "POST", path: "/api/edge/sync/" + text(edge), status: 401},
		{as: root, method: "POST", path: "/api/edge/sync/" + text(77), status: 404},
		{as: root, method: "POST", path: "/api/edge/sync/" + text(edge), status: 200},
	})
	r.synced = errors.New("there is no link")
	if a := r.send(root, "POST", "/api/edge/sync/"+text(edge), ""); a.status != 500 ||
		!strings.Contains(a.body, `"message":"there is no link"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
