package rules

import (
	"math"
	"strings"
)

// perimeter is where a geofencing node looks for places and areas (RULES.md 4.6).
type perimeter struct {
	latitude, longitude string // keys
	circle              bool
	key                 string // of the metadata that hold the area; "": it is configured
	area                *tree  // as it is configured
	centre              [2]float64
	radius              float64 // m
}

// unitMetres are the units of a radius.
var unitMetres = map[string]float64{
	"": 1, "METER": 1, "KILOMETER": 1000, "FOOT": 0.3048, "MILE": 1609.344, "NAUTICAL_MILE": 1852,
}

func (c *config) perimeter() *perimeter {
	g := &perimeter{
		latitude: c.text("latitudeKeyName"), longitude: c.text("longitudeKeyName"),
		circle: c.text("perimeterType") == "CIRCLE",
	}
	if c.flag("fetchPerimeterInfoFromMessageMetadata") {
		if g.key = c.text("perimeterKeyName"); g.key == "" {
			g.key = "ss_perimeter"
		}
		return g
	}
	if !g.circle {
		var err error
		if g.area, err = parseTree(c.text("polygonsDefinition")); err != nil {
			c.bad("polygonsDefinition", "is no JSON")
		}
		return g
	}
	a, ok1 := c.t.get("centerLatitude").number()
	b, ok2 := c.t.get("centerLongitude").number()
	radius, ok3 := c.t.get("range").number()
	unit := unitMetres[c.text("rangeUnit")]
	if g.centre, g.radius = [2]float64{a, b}, radius*unit; !ok1 || !ok2 || !ok3 || unit == 0 {
		c.bad("centerLatitude", "or another part of the circle is missing")
	}
	return g
}

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
			return false, errorText("there is no " + key + " in the message")
		}
	}
	area, centre, radius := g.area, g.centre, g.radius
	if g.key != "" {
		var err error
		if area, err = parseTree(m.meta(g.key)); err != nil {
			return false, errorText("Missing perimeter definition!")
		}
		if g.circle {
			a, ok1 := area.get("latitude").number()
			b, ok2 := area.get("longitude").number()
			r, ok3 := area.get("radius").number()
			unit := unitMetres[textOf(area, "radiusUnit")]
			if centre, radius = [2]float64{a, b}, r*unit; !ok1 || !ok2 || !ok3 || unit == 0 {
				return false, errorText("Missing perimeter definition!")
			}
		}
	}
	if g.circle {
		return metres(place, centre) <= radius, nil
	}
	if area == nil || area.kind != isList || len(area.items) == 0 {
		return false, errorText("Missing perimeter definition!")
	}
	return inArea(place, area), nil
}

// metres is the distance of two places on a sphere.
func metres(a, b [2]float64) float64 {
	const degree = math.Pi / 180
	s1, c1 := math.Sincos(a[0] * degree)
	s2, c2 := math.Sincos(b[0] * degree)
	_, c := math.Sincos((a[1] - b[1]) * degree)
	return 6371008.8 * math.Acos(min(1, s1*s2+c1*c2*c))
}

// inArea reports whether a place is in a polygon, or in one of several, but in none that lies
// within it as a hole: the number of rings around it is odd.
func inArea(place [2]float64, area *tree) bool {
	rings := area.items
	if len(rings[0].items) > 0 && rings[0].items[0].kind == isNumber {
		rings = []*tree{area}
	}
	in := false
	for _, ring := range rings {
		n := len(ring.items)
		for i := range n {
			a, b := point(ring.items[i]), point(ring.items[(i+n-1)%n])
			if (a[1] > place[1]) != (b[1] > place[1]) && place[0] < (b[0]-a[0])*(place[1]-a[1])/(b[1]-a[1])+a[0] {
				in = !in
			}
		}
	}
	return in
}

//go:noinline
func point(t *tree) (p [2]float64) {
	for i := range p {
		if i < len(t.items) {
			p[i], _ = t.items[i].number()
		}
	}
	return p
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
		c, made := mem.of(r.m.Originator)
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
		unlock(&mem.mu)
		r.tell(relation)
	}
}
