package status

import (
	"encoding/json"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/sighting"
)

// Devices is where GET /api/edgesync/devices and `edgesync devices` look. Nothing is kept between
// two answers. Its functions are called from many goroutines and must not wait.
type Devices struct {
	// Each calls fn for the devices, in no order, until it returns false; fn calls nothing of
	// Devices.
	Each func(fn func(registry.Device) bool)
	ByID func(id proto.UUID) (registry.Device, bool)
	Seen *sighting.Book
	// Session says whether a device is connected over MQTT, and by which gateway.
	Session func(id proto.UUID) (gateway proto.UUID, connected bool)
	// Values calls fn for the latest values of a device; kv is fn's to keep.
	Values   func(id proto.UUID, fn func(ts int64, kv proto.KV))
	Refusals *refusal.Ledger
}

// Bounds of one answer: at most some 300 KiB of JSON.
const (
	devicesDefault = 50
	devicesMost    = 100
	unknownMost    = 50
	deviceText     = 256 // bytes shown of a name, a type, a label or a key
	fewValues      = 8   // of a device in a list
	fewBytes       = 64  // of each of them
	manyValues     = 256 // of the device that was asked for by name
	manyBytes      = 512
)

// DeviceQuery says which devices are asked for.
type DeviceQuery struct {
	Name  string `json:"name,omitempty"`  // of the one device, in full; "": of all
	Text  string `json:"text,omitempty"`  // that a name, label or type contains, in any case
	After string `json:"after,omitempty"` // go on behind this name
	Limit int    `json:"limit,omitempty"` // 1 to 100; 0: 50
}

// DeviceList is the JSON of GET /api/edgesync/devices: devices by name, from one on. The names in
// it are read by scripts and stay.
type DeviceList struct {
	Total   int          `json:"total"`            // devices that match, on all pages
	Next    string       `json:"next,omitempty"`   // there are more: ask again with this as after
	Hidden  bool         `json:"hidden,omitempty"` // values were left out (local)
	Devices []DeviceLine `json:"devices"`
	// Unknown are those who knocked with credentials that no device here has, the latest first, at
	// most 50; on the first page only.
	Unknown []refusal.Party `json:"unknown"`
}

// DeviceLine is a device.
type DeviceLine struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Type      string          `json:"type"` // name of its profile
	Label     string          `json:"label,omitempty"`
	IsGateway bool            `json:"is_gateway,omitempty"` // may speak for others
	Connected bool            `json:"connected"`            // over MQTT now, itself or by its gateway
	Door      string          `json:"door,omitempty"`       // where it was seen last: http, mqtt, gateway or rest
	Gateway   string          `json:"gateway,omitempty"`    // name of the gateway that speaks for it now, or spoke last
	LastSeen  *time.Time      `json:"last_seen"`            // null: not since the start of the agent
	PerMinute float64         `json:"events_per_minute"`    // over some five minutes
	Values    []DeviceValue   `json:"values,omitempty"`     // the latest, by key
	Refused   []refusal.Party `json:"refused,omitempty"`    // what was refused to it since the start, the latest first
}

// DeviceValue is the latest value of a time series. A value that is too long to show is a text with
// an ellipsis.
type DeviceValue struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
	TS    int64           `json:"ts"` // milliseconds since the Unix epoch
}

// List finds devices.
func (d *Devices) List(q DeviceQuery, now time.Time) *DeviceList {
	limit := min(max(q.Limit, 1), devicesMost)
	if q.Limit <= 0 {
		limit = devicesDefault
	}
	l := &DeviceList{Devices: []DeviceLine{}, Unknown: []refusal.Party{}}
	page := l.page(d, &q, limit)
	refused := d.refused(l, q.After == "" && q.Name == "")
	for i := range page {
		l.Devices = append(l.Devices, d.line(&page[i], refused, q.Name != "", now))
	}
	return l
}

// page finds at most limit devices, by name. However many there are, no more than these are kept.
func (l *DeviceList) page(d *Devices, q *DeviceQuery, limit int) (page []registry.Device) {
	text := strings.ToLower(q.Text)
	rest := 0
	d.Each(func(dev registry.Device) bool {
		if q.Name != "" && dev.Name != q.Name || !contains(dev.Name, text) && !contains(dev.Label, text) && !contains(dev.Type, text) {
			return true
		}
		l.Total++
		if q.After != "" && dev.Name <= q.After {
			return true
		}
		rest++
		at := sort.Search(len(page), func(i int) bool { return page[i].Name > dev.Name })
		if at == limit {
			return true
		}
		if len(page) < limit {
			page = append(page, registry.Device{})
		}
		copy(page[at+1:], page[at:])
		page[at] = dev
		return true
	})
	if rest > len(page) {
		l.Next = page[len(page)-1].Name
	}
	return page
}

// contains reports whether a text contains another, which is in lower case.
func contains(text, part string) bool {
	return part == "" || strings.Contains(text, part) || strings.Contains(strings.ToLower(text), part)
}

// refused takes the unknown ones from the traces, if they are asked for, and returns those of
// devices.
func (d *Devices) refused(l *DeviceList, unknown bool) (devices []refusal.Party) {
	for _, p := range d.Refusals.All() {
		switch {
		case p.Device:
			devices = append(devices, p)
		case unknown && len(l.Unknown) < unknownMost &&
			(p.Reason == refusal.UnknownToken.String() || p.Reason == refusal.NotSynced.String()):
			l.Unknown = append(l.Unknown, p)
		}
	}
	return devices
}

func (d *Devices) line(dev *registry.Device, refused []refusal.Party, whole bool, now time.Time) DeviceLine {
	l := DeviceLine{
		ID: proto.FormatUUID(dev.ID), Name: plain.Cut(dev.Name, deviceText), Type: plain.Cut(dev.Type, deviceText),
		Label: plain.Cut(dev.Label, deviceText), IsGateway: dev.Gateway,
	}
	s := d.Seen.Of(now, dev.ID)
	l.Door, l.PerMinute = s.Door.String(), s.Minute
	if !s.Last.IsZero() {
		at := s.Last.UTC()
		l.LastSeen = &at
	}
	gateway, connected := d.Session(dev.ID)
	if l.Connected = connected; connected {
		l.Door = sighting.MQTT.String()
		if gateway != (proto.UUID{}) {
			l.Door = sighting.Gateway.String()
		}
	} else if gateway = dev.LastGateway; s.Door != sighting.Gateway && s.Door != sighting.Nowhere {
		gateway = proto.UUID{}
	}
	if g, ok := d.ByID(gateway); ok {
		l.Gateway = plain.Cut(g.Name, deviceText)
	}
	who := refusal.Who(dev.Name)
	for i := range refused {
		if refused[i].Who == who {
			l.Refused = append(l.Refused, refused[i])
		}
	}
	l.values(d, dev.ID, whole)
	return l
}

// values are the latest values of a device, by key.
func (l *DeviceLine) values(d *Devices, id proto.UUID, whole bool) {
	most, bytes := fewValues, fewBytes
	if whole {
		most, bytes = manyValues, manyBytes
	}
	d.Values(id, func(ts int64, kv proto.KV) {
		v := DeviceValue{Key: plain.Cut(string(kv.Key), deviceText), Value: proto.AppendJSONValue(nil, &kv), TS: ts}
		if len(v.Value) > bytes || !json.Valid(v.Value) {
			v.Value = proto.AppendJSONString(nil, plain.Cut(string(v.Value), bytes))
		}
		l.Values = append(l.Values, v)
	})
	sort.Slice(l.Values, func(i, j int) bool { return l.Values[i].Key < l.Values[j].Key })
	l.Values = l.Values[:min(len(l.Values), most)]
}

// serveDevices answers with a page of devices. Values are for who may see contents; a user of a
// customer gets the customer's devices of the page.
func serveDevices(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers) {
	limit, ok := number(query.Get("limit"), devicesDefault)
	if !ok || limit-1 >= devicesMost {
		http.Error(w, "limit is 1 to 100; next of one answer is after of the next one", http.StatusBadRequest)
		return
	}
	if src.Devices == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	answer, ok := going.take(w, r, eventsAnswer)
	if !ok {
		return
	}
	l := src.Devices.List(DeviceQuery{query.Get("name"), query.Get("text"), query.Get("after"), int(limit)}, time.Now())
	u, sees := src.Login.viewer(r)
	l.Hidden = !sees
	theirs := l.Devices[:0]
	for i := range l.Devices {
		id, _ := proto.ParseUUID(l.Devices[i].ID)
		if !sees {
			l.Devices[i].Values = nil
		} else if !u.Sees(id) {
			continue
		}
		theirs = append(theirs, l.Devices[i])
	}
	if l.Devices = theirs; sees && !u.Admin {
		l.Total, l.Unknown = len(theirs), l.Unknown[:0]
	}
	data, _ := json.Marshal(l) // nothing in it can fail
	answer.send("application/json", data)
}
