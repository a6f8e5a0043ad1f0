package rules

import (
	"strings"
	"time"

	"edgesync/sync/rules/script"
)

// perimeter is where a geofencing node looks for places and areas (RULES.md 4.6).
type perimeter struct {
	_         uncompared
	Latitude  string `conf:"latitudeKeyName"` // keys
	Longitude string `conf:"longitudeKeyName"`
	Circle    bool   `conf:"perimeterType CIRCLE"`
	Named     bool   `conf:"fetchPerimeterInfoFromMessageMetadata"`
	Key       string `conf:"perimeterKeyName"` // of the metadata that hold the area, if it is not configured
	Unit      string `conf:"rangeUnit"`
	Area      string `conf:"polygonsDefinition"` // JSON
	formula   string // of TBEL, with the area as metadata.p
}

const (
	inPolygon = "isInsidePolygon(msg.a, msg.b, metadata.p)"
	inCircle  = "isInsideCircle(msg.a, msg.b, metadata.p)"
)

func (g *perimeter) prepare(_ *node, c *config) {
	if g.formula = inPolygon; g.Circle {
		g.formula = inCircle
	}
	if g.Named {
		return
	}
	if g.Circle {
		if g.Unit == "" {
			g.Unit = "METER"
		}
		g.Area = members("latitude longitude radius radiusUnit", c.t.get("centerLatitude"), c.t.get("centerLongitude"),
			c.t.get("range"), textTree(g.Unit)).String()
	}
	if _, err := calculate(g.formula, 0, 0, g.pairs(g.Area)); err != nil {
		c.bad("perimeterType", "has no area: "+err.Error())
	}
}

func (g *perimeter) pairs(area string) []script.Pair { return []script.Pair{{Key: "p", Value: area}} }

// inside reports whether the place of a message is in the area.
func (g *perimeter) inside(m *Message) (bool, error) {
	t := m.object()
	if t == nil {
		return false, fault(notObject)
	}
	var place [2]float64
	for i, key := range [2]string{g.Latitude, g.Longitude} {
		v := t.get(key)
		if !v.scalar() {
			v = textTree(m.meta(key))
		}
		f, ok := v.number()
		if place[i] = f; !ok {
			return false, faultOn("there is no % in the message", key)
		}
	}
	area, formula := g.Area, g.formula
	switch {
	case !g.Named:
	case g.Key != "":
		area = m.meta(g.Key)
	default: // servers before 3.5 named no key
		if area, formula = m.meta("perimeter"), inPolygon; area == "" {
			formula = inCircle
			area = `{"latitude":` + m.meta("centerLatitude") + `,"longitude":` + m.meta("centerLongitude") +
				`,"radius":` + m.meta("range") + `,"radiusUnit":"` + m.meta("rangeUnit") + `"}`
		}
	}
	v, err := calculate(formula, place[0], place[1], g.pairs(area))
	if err != nil || v == nil {
		return false, fault("Missing perimeter definition!")
	}
	return v.Bool(), nil
}

type geoFilter struct {
	perimeter `conf:""`
}

func (g *geoFilter) do(r *round) {
	in, err := g.inside(r.m)
	if r.check(err) {
		r.truth(in)
	}
}

type geoEvents struct {
	_           uncompared
	perimeter   `conf:""`
	Each        bool          `conf:"reportPresenceStatusOnEachMessage"`
	Outside     int64         `conf:"minOutsideDuration 1"`
	OutsideUnit time.Duration `conf:"minOutsideDurationTimeUnit"`
	Inside      int64         `conf:"minInsideDuration 1"`
	InsideUnit  time.Duration `conf:"minInsideDurationTimeUnit"`
}

func (g *geoEvents) do(r *round) {
	in, err := g.inside(r.m)
	if !r.check(err) {
		return
	}
	at, begun, lasts, stay := r.e.opt.Now(), "Left", "Outside", g.Outside*g.OutsideUnit.Milliseconds()
	if in {
		begun, lasts, stay = "Entered", "Inside", g.Inside*g.InsideUnit.Milliseconds()
	}
	mem := r.n.mem
	lock(&mem.mu)
	c, made, gone := r.cell(&r.m.Originator)
	before := c.word
	relation := "Success"
	switch {
	case made || !strings.HasPrefix(c.word, begun):
		c.word, c.time = begun, at
		relation = begun
	case g.Each:
		relation = lasts
	case c.word == begun && at-c.time > stay:
		c.word += "+" // said once
		relation = lasts
	}
	if c.word != before {
		r.changed(&r.m.Originator, c, gone)
	}
	unlock(&mem.mu)
	r.tell(relation)
}
