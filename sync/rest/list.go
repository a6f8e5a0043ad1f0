package rest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
)

// maxPage bounds the entities of one answer.
const maxPage = 1000

// page is ThingsBoard's form of a list.
type page struct {
	data            []byte // its entities, with commas between
	Pages, Elements int
	More            bool
}

// add takes an entity. Its bytes are copied once: it may have megabytes.
func (p *page) add(text []byte) {
	const head, tail = `{"data":[`, 128
	if p.data == nil {
		p.data = append(make([]byte, 0, len(head)+len(text)+tail), head...)
	} else {
		p.data = append(slices.Grow(p.data, len(text)+tail), ',')
	}
	p.data = append(p.data, text...)
}

// encode is the page as JSON text.
func (p *page) encode() json.RawMessage {
	b := p.data
	if b == nil {
		b = []byte(`{"data":[`)
	}
	b = strconv.AppendInt(append(b, `],"totalPages":`...), int64(p.Pages), 10)
	b = strconv.AppendInt(append(b, `,"totalElements":`...), int64(p.Elements), 10)
	return append(strconv.AppendBool(append(b, `,"hasNext":`...), p.More), '}')
}

// paging reads pageSize and page of a request.
func (c *call) paging() (size, number int, err error) {
	size, err1 := strconv.Atoi(c.query("pageSize"))
	number, err2 := strconv.Atoi(c.query("page"))
	if err1 != nil || err2 != nil || size < 1 || size > maxPage || number < 0 || number > 1<<20 {
		return 0, 0, bad("pageSize (1 to " + strconv.Itoa(maxPage) + ") and page (from 0) must be given")
	}
	return size, number, nil
}

// list is GET of the tenant's entities of a kind: the one with the name in the parameter byName, or
// a page of all.
func (c *call) list(def *entityDef, byName string) (any, error) {
	if c.query(byName) == "" {
		return c.pageOf(def)
	}
	return c.byName(def, byName)
}

func (c *call) byName(def *entityDef, parameter string) (any, error) {
	name := c.query(parameter)
	if name == "" {
		return nil, bad(parameter + " must be given")
	}
	var found json.RawMessage
	c.Registry.Entities(def.kind, func(_ proto.UUID, text []byte) bool {
		if d, ok := glance(text); ok && d.text(def.name) == name && c.sees(def, d) {
			found = text
		}
		return found == nil
	})
	if found == nil {
		return nil, errNotFound
	}
	return found, nil
}

// listOfEdge is GET of an edge's entities; this edge is the only one.
func (c *call) listOfEdge(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	if own, ok := c.Registry.EdgeID(); !ok || id != own {
		return nil, errNotFound
	}
	return c.pageOf(def)
}

// listOf is GET of a customer's entities of a kind.
func (c *call) listOf(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	if !c.admin() && id != c.user.Customer {
		return nil, errForbidden
	}
	return c.pageOf(def, id)
}

func (c *call) pageOf(def *entityDef, customer ...proto.UUID) (any, error) {
	size, number, err := c.paging()
	if err != nil {
		return nil, err
	}
	var p page
	search := strings.ToLower(c.query("textSearch"))
	bytes, full := 0, false
	c.Registry.Entities(def.kind, func(_ proto.UUID, text []byte) bool {
		if len(text) >= largeText {
			defer agent.MakeRoom() // before the next is read: what is left of this one is garbage then
		}
		d, ok := glance(text)
		if !ok || !c.sees(def, d) || !strings.Contains(strings.ToLower(d.text(def.name)), search) {
			return true
		}
		if len(customer) > 0 {
			if id, _, _ := d.id("customerId"); id != customer[0] {
				return true
			}
		}
		if full = full || bytes > 0 && bytes+len(text) > maxAnswer; p.Elements/size == number && !full {
			p.add(text)
			bytes += len(text)
		}
		p.Elements++
		return true
	})
	p.Pages = (p.Elements + size - 1) / size
	p.More = number+1 < p.Pages
	return p.encode(), nil
}

// maxAnswer bounds a page beyond its first entity, and the attributes or relations of an answer, in
// bytes: a thousand dashboards would not fit into memory.
const maxAnswer = 2 << 20

var errLargeAnswer = bad("the answer would be larger than " + strconv.Itoa(maxAnswer) + " bytes: ask for fewer keys")

var errManyRelations = bad("the answer would be larger than " + strconv.Itoa(maxAnswer) + " bytes: ask for one type of relations")
