package script

import "math"

// The geometry of isInsideCircle and isInsidePolygon (RULES.md 5.5): places are degrees.

const earthRadius = 6371008.8 // metres, the mean radius

// parsePlaces reads the JSON text of an area.
func parsePlaces(s string) *Doc {
	var d Doc
	if err := d.Parse(s); err != nil {
		panic(failed("the area is no JSON"))
	}
	return &d
}

// insideCircle: {"latitude":…,"longitude":…,"radius":…,"radiusUnit":"METER"}.
func insideCircle(lat, lon float64, area string) bool {
	d := parsePlaces(area)
	number := func(key string) float64 {
		if d.cells[0].kind == cellMap {
			if at := d.find(0, key); at != 0 {
				return argDouble(d.item(at, TBEL))
			}
		}
		panic(failed("the circle has no " + key))
	}
	unit := 1.0
	if d.cells[0].kind == cellMap {
		if at := d.find(0, "radiusUnit"); at != 0 {
			unit = unitOf(d.item(at, TBEL).Text())
		}
	}
	return distance(lat, lon, number("latitude"), number("longitude")) <= number("radius")*unit
}

// unitOf is a unit of length in metres.
func unitOf(name string) float64 {
	switch name {
	case "METER":
		return 1
	case "KILOMETER":
		return 1000
	case "FOOT":
		return 0.3048
	case "MILE":
		return 1609.344
	case "NAUTICAL_MILE":
		return 1852
	}
	panic(failed("an unknown unit of length: " + name))
}

// distance is along a great circle, in metres.
func distance(lat1, lon1, lat2, lon2 float64) float64 {
	const degree = math.Pi / 180
	sinLat, sinLon := math.Sin((lat2-lat1)*degree/2), math.Sin((lon2-lon1)*degree/2)
	h := sinLat*sinLat + math.Cos(lat1*degree)*math.Cos(lat2*degree)*sinLon*sinLon
	return 2 * earthRadius * math.Asin(math.Sqrt(min(1, h)))
}

type point struct{ x, y float64 }

// insidePolygon: a list of points [lat, lon], or a list of such lists, of which each further one
// that lies inside cuts a hole.
func insidePolygon(lat, lon float64, area string) bool {
	d := parsePlaces(area)
	if d.cells[0].kind != cellList {
		panic(failed("the polygon is no list"))
	}
	inside := false
	p := point{lat, lon}
	if ring, ok := d.ring(0); ok {
		return contains(ring, p)
	}
	for i := uint32(1); i < d.cells[0].next; i = d.cells[i].next {
		ring, ok := d.ring(i)
		if !ok {
			panic(failed("the polygon is no list of points"))
		}
		if contains(ring, p) {
			inside = !inside
		}
	}
	return inside
}

// ring reads the points of one list.
func (d *Doc) ring(at uint32) (ring []point, ok bool) {
	if d.cells[at].kind != cellList {
		return nil, false
	}
	for i := at + 1; i < d.cells[at].next; i = d.cells[i].next {
		if d.cells[i].kind != cellList || d.cells[i].next < i+3 || d.cells[i+1].kind != cellNumber || d.cells[i+2].kind != cellNumber {
			return nil, false
		}
		ring = append(ring, point{d.item(i+1, TBEL).Number(), d.item(i+2, TBEL).Number()})
	}
	return ring, true
}

// contains counts the edges that a ray from p crosses.
func contains(ring []point, p point) bool {
	inside := false
	for i, a := range ring {
		b := ring[(i+len(ring)-1)%len(ring)]
		if (a.y > p.y) != (b.y > p.y) && p.x < (b.x-a.x)*(p.y-a.y)/(b.y-a.y)+a.x {
			inside = !inside
		}
	}
	return inside
}
