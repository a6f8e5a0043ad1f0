package dashboards

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/refusal"
	"edgesync/sync/rules"
	"edgesync/sync/status"
	"edgesync/sync/tally"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// metrics are the names of all series of /metrics.
func metrics(t *testing.T) (names []string) {
	t.Helper()
	at := time.Now()
	s := agent.Snapshot{
		At: at, LastContact: &at, ClockOffsetMS: new(int64), Certificates: []agent.EndOf{{Door: "mqtt.tls", Ends: at}},
		Losses: []tally.Loss{{Reason: "quota"}}, Refusals: []refusal.Count{{Door: "http", Reason: "json"}},
	}
	w := httptest.NewRecorder()
	status.Handler(status.Source{Snapshot: func() agent.Snapshot { return s }}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)[ {]`).FindAllStringSubmatch(w.Body.String(), -1) {
		names = append(names, m[1])
	}
	return names
}

// The files for Prometheus and Grafana name no metric that the agent does not have.
func TestMetricsExist(t *testing.T) {
	known := metrics(t)
	for _, file := range []string{"prometheus-alerts.yml", "grafana.json"} {
		named := regexp.MustCompile(`\b(edgesync|process)_[a-z_]+`).FindAllString(read(t, file), -1)
		if len(named) < 8 {
			t.Errorf("%s names %d metrics", file, len(named))
		}
		for _, name := range named {
			if !slices.Contains(known, name) {
				t.Errorf("%s: the agent has no %s", file, name)
			}
		}
	}
}

// The files for ThingsBoard name no figure that is not documented as reported, and all of them are
// on the dashboard or in the alarms.
func TestFiguresExist(t *testing.T) {
	figure := regexp.MustCompile(`\bedgesync[A-Z][A-Za-z]+`)
	_, text, _ := strings.Cut(read(t, "../../sync/OPERATIONS.md"), "### Many gateways")
	text, _, _ = strings.Cut(text, "\n##")
	known := figure.FindAllString(text, -1)
	shown := figure.FindAllString(read(t, "thingsboard-dashboard.json"), -1)
	for _, name := range append(shown, figure.FindAllString(read(t, "thingsboard-alarms.json"), -1)...) {
		if name != "edgesyncLost" && !slices.Contains(known, name) { // the difference of two reports
			t.Errorf("the agent reports no %s", name)
		}
	}
	for _, name := range known {
		if name != "edgesyncOldestSeconds" && !slices.Contains(shown, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// The dashboard has the form that the server imports: each widget is placed, and asks for entities
// that are named.
func TestDashboard(t *testing.T) {
	type source struct {
		Alias string `json:"entityAliasId"`
	}
	var d struct {
		Title, Name   string
		Configuration struct {
			Widgets map[string]struct {
				ID, TypeFullFqn, Type string
				Config                struct {
					Datasources []source
					AlarmSource *source
				}
			}
			States map[string]struct {
				Root    bool
				Layouts struct {
					Main struct{ Widgets map[string]any }
				}
			}
			EntityAliases map[string]struct {
				Filter struct{ Type, EntityType string }
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "thingsboard-dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	c := d.Configuration
	placed := c.States["default"].Layouts.Main.Widgets
	if d.Title == "" || d.Name != d.Title || !c.States["default"].Root || len(c.Widgets) != 5 || len(placed) != len(c.Widgets) {
		t.Errorf("%+v", d)
	}
	for id, w := range c.Widgets {
		sources := w.Config.Datasources
		if w.Config.AlarmSource != nil {
			sources = append(sources, *w.Config.AlarmSource)
		}
		if w.ID != id || placed[id] == nil || !strings.HasPrefix(w.TypeFullFqn, "system.") || len(sources) != 1 {
			t.Errorf("widget %s: %+v", id, w)
			continue
		}
		if a := c.EntityAliases[sources[0].Alias]; a.Filter.Type != "entityType" || a.Filter.EntityType != "EDGE" {
			t.Errorf("widget %s shows %+v", id, a)
		}
	}
}

// watched is the chain with a node behind those of alarms that shows what they do.
func watched(t *testing.T) []byte {
	t.Helper()
	var chain map[string]any
	if err := json.Unmarshal([]byte(read(t, "thingsboard-alarms.json")), &chain); err != nil {
		t.Fatal(err)
	}
	m := chain["metadata"].(map[string]any)
	nodes := m["nodes"].([]any)
	for i, n := range nodes {
		if strings.Contains(n.(map[string]any)["type"].(string), "AlarmNode") {
			for _, kind := range []string{"Created", "Updated", "Cleared"} {
				m["connections"] = append(m["connections"].([]any), map[string]any{"fromIndex": i, "toIndex": len(nodes), "type": kind})
			}
		}
	}
	m["nodes"] = append(nodes, map[string]any{
		"type": "org.thingsboard.rule.engine.edge.TbMsgPushToCloudNode", "name": "Push",
		"configuration": map[string]any{"scope": "SERVER_SCOPE"},
	})
	b, err := json.Marshal(chain)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The alarms come with what a report says, and go with the next one that is better.
func TestAlarms(t *testing.T) {
	e, err := rules.NewTrial(watched(t), rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		report string
		want   []string
	}{
		{`{"edgesyncDropped":5,"edgesyncDead":0,"edgesyncRoomPercent":3.5,"edgesyncFlashYears":20.5}`, nil},
		{`{"edgesyncDropped":5,"edgesyncDead":0,"edgesyncRoomPercent":81.0}`, []string{"Gateway is filling up"}},
		{
			`{"edgesyncDropped":9,"edgesyncDead":2,"edgesyncRoomPercent":99.0}`,
			[]string{"Gateway is filling up", "Cloud refuses events", "Gateway lost events"},
		},
		{
			`{"edgesyncDropped":9,"edgesyncDead":0,"edgesyncRoomPercent":20.0,"edgesyncFlashYears":1.5}`,
			[]string{"cleared Gateway is filling up", "cleared Cloud refuses events", "Flash wears out"},
		},
		{`{"edgesyncDropped":9,"edgesyncDead":0,"edgesyncRoomPercent":20.0}`, nil}, // how long the flash lasts is not known
		{`{"edgesyncDropped":9,"edgesyncFlashYears":2.5}`, []string{"cleared Flash wears out"}},
	} {
		step := fmt.Sprintf(`{"at":%d,"in":{"msgType":"POST_TELEMETRY_REQUEST",`+
			`"originator":{"entityType":"EDGE","id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"},`+
			`"metadata":{"ts":"%d"},"data":%s}}`, i*300_000, 1767225600000+int64(i)*300_000, c.report)
		out, err := e.Step([]byte(step))
		if err != nil {
			t.Fatal(err)
		}
		var made struct {
			Cloud []struct {
				Action string
				Alarm  struct{ Type string }
			}
			Failed, Unsupported []any
		}
		if err := json.Unmarshal(out, &made); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range made.Cloud {
			got = append(got, map[string]string{"ALARM_CLEAR": "cleared "}[e.Action]+e.Alarm.Type)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) || len(made.Failed)+len(made.Unsupported) > 0 {
			t.Errorf("report %d: %s", i+1, out)
		}
	}
}
