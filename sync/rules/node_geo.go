package rules

import (
	"strings"

	"edgesync/sync/rules/script"
)

// perimeter is where a geofencing node looks for places and areas (RULES.md 4.6).
type perimeter struct {
	_                   uncompared
	latitude, longitude string // keys
	formula             string // of TBEL, with the area as metadata.p
	key                 string // of the metadata that hold the area; "": it is configured
	area                string // as it is configured, JSON
}

func (c *config) perimeter() *perimeter {
	g := &perimeter{
		latitude: c.text("latitudeKeyName"), longitude: c.text("longitudeKeyName"),
		formula: "isInsidePolygon(msg.a, msg.b, metadata.p)",
	}
	circle := c.text("perimeterType") == "CIRCLE"
	if circle {
		g.formula = "isInsideCircle(msg.a, msg.b, metadata.p)"
	}
	if c.flag("fetchPerimeterInfoFromMessageMetadata") {
		if g.key = c.text("perimeterKeyName"); g.key == "" {
			g.key = "ss_perimeter"
		}
		return g
	}
	if g.area = c.text("polygonsDefinition"); circle {
		unit := c.text("rangeUnit")
		if unit == "" {
			unit = "METER"
		}
		g.area = members("latitude longitude radius radiusUnit", c.t.get("centerLatitude"), c.t.get("centerLongitude"),
			c.t.get("range"), textTree(unit)).String()
	}
	if _, err := calculate(g.formula, 0, 0, g.pairs(g.area)); err != nil {
		c.bad("perimeterType", "has no area: "+err.Error())
	}
	return g
}

func (g *perimeter) pairs(area string) []script.Pair { return []script.Pair{{Key: "p", Value: area}} }

// inside reports whether the place of a message is in the area.
func (g *perimeter) inside(m *Message) (bool, error) {
	t := m.object()
	var place [2]float64
	for i, key := range [2]string{g.latitude, g.longitude} {
		v := t.get(key)
		if v == nil && m.hasMeta(key) {
			v = textTree(m.meta(key))
		}
		f, ok := v.number()
		if place[i] = f; !ok {
			return false, fault("there is no " + key + " in the message")
		}
	}
	area := g.area
	if g.key != "" {
		area = m.meta(g.key)
	}
	v, err := calculate(g.formula, place[0], place[1], g.pairs(area))
	if err != nil || v == nil {
		return false, fault("Missing perimeter definition!")
	}
	return v.Bool(), nil
}

func makeGeoFilter(_ *node, c *config) work {
	g := c.perimeter()
	return func(r *round) {
		in, err := g.inside(r.m)
		if r.check(err) {
			r.truth(in)
		}
	}
}

func makeGeoEvents(_ *node, c *config) work {
	g := c.perimeter()
	each := c.flag("reportPresenceStatusOnEachMessage")
	stay := [2]int64{
		c.whole("minOutsideDuration", 1) * c.unit("minOutsideDurationTimeUnit").Milliseconds(),
		c.whole("minInsideDuration", 1) * c.unit("minInsideDurationTimeUnit").Milliseconds(),
	}
	return func(r *round) {
		in, err := g.inside(r.m)
		if !r.check(err) {
			return
		}
		at, i := r.m.when(), 0
		names := [...]string{"Left", "Outside"}
		if in {
			names, i = [...]string{"Entered", "Inside"}, 1
		}
		mem := r.n.mem
		lock(&mem.mu)
		c, made, gone := r.cell(r.m.Originator)
		before := c.word
		relation := "Success"
		switch {
		case made || !strings.HasPrefix(c.word, names[0]):
			c.word, c.time = names[0], at
			relation = names[0]
		case each:
			relation = names[1]
		case c.word == names[0] && at-c.time >= stay[i]:
			c.word += "+" // said once
			relation = names[1]
		}
		if c.word != before {
			r.changed(r.m.Originator, c, gone)
		}
		unlock(&mem.mu)
		r.tell(relation)
	}
}
