package ruling

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/rules"
)

// load brings the engine level with the chains of the registry, or with that of Options.File. What
// has not changed is left as it is. The goroutine of Run, or that of Open.
func (r *Rules) load() error {
	if r.Off {
		r.sayFacts()
		return nil
	}
	r.engine.SetLimit(r.Registry.NodeLimit())
	if r.File != nil {
		return r.loadFile()
	}
	var err error
	note := func(id proto.UUID, e error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.problems, id); e != nil {
			r.problems[id] = e.Error()
			err = errors.Join(err, e)
		}
	}
	here := make(map[proto.UUID]bool)
	r.Registry.Entities(proto.KindRuleChain, func(id proto.UUID, text []byte) bool {
		here[id] = true
		if h := sha256.Sum256(text); r.heads[id] != h {
			r.heads[id] = h
			note(id, r.engine.Head(text))
			if _, ok := r.bodies[id]; ok {
				r.bodies[id] = sum{} // what is wrong with the nodes is said again
			}
		}
		return true
	})
	gone := false
	for id := range r.heads {
		if !here[id] {
			r.forgetChain(id)
			gone = true
		}
	}
	if gone && r.tryAgain() {
		return r.load()
	}
	bodies := 0
	r.Registry.Entities(proto.KindRuleChainMetadata, func(id proto.UUID, text []byte) bool {
		if !here[id] { // its head is still to come, or it is going
			return true
		}
		bodies++
		if h := sha256.Sum256(text); r.bodies[id] != h {
			_, begun := r.bodies[id]
			r.bodies[id] = h
			note(id, r.loadMetadata(id, text, !begun))
		}
		return true
	})
	r.several.Store(bodies > 1)
	r.mu.Lock()
	for id := range here {
		if _, ok := r.bodies[id]; !ok { // head and nodes come together
			r.problems[id] = "its nodes are not here: have they more than 1 MiB?"
		}
	}
	r.mu.Unlock()
	r.sayFacts()
	return err
}

// loadMetadata takes the metadata of a chain. While they are no chain, those before them count,
// which are read again after a start.
func (r *Rules) loadMetadata(id proto.UUID, text []byte, start bool) error {
	if former, ok := r.Registry.FormerMetadata(id); ok && start {
		_, _ = r.engine.Metadata(former)
	}
	if _, err := r.engine.Metadata(text); err != nil {
		return err
	}
	_ = r.Registry.GoodMetadata(id, text) // else the former ones stay beside them, and do no harm
	return nil
}

// tryAgain has chains read again that are not executed, now that another one has gone: there may
// have been too many; false: there are none.
func (r *Rules) tryAgain() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.problems {
		for _, taken := range [...]map[proto.UUID]sum{r.heads, r.bodies} {
			if _, ok := taken[id]; ok {
				taken[id] = sum{}
			}
		}
	}
	return len(r.problems) > 0
}

// sayFacts logs what people must know of the chains, once for each change.
func (r *Rules) sayFacts() {
	said := make(map[string]bool)
	all := r.Report(true)
	root := Root{Name: all.Root}
	if len(all.Chains) > 0 && all.Chains[0].Root {
		root.id, root.Nodes = all.Chains[0].ID, len(all.Chains[0].Nodes)
	}
	r.mu.Lock()
	if root.Since = r.root.Since; root.id != r.root.id {
		root.Since = time.Now()
	}
	changed := root != r.root
	r.root = root
	r.mu.Unlock()
	if changed && root.id != "" {
		r.Log.Info("the root rule chain", "name", root.Name, "nodes", root.Nodes)
	}
	for _, f := range all.Facts {
		if said[f] = true; !r.facts[f] {
			level := slog.LevelInfo
			if strings.Contains(f, notExecuted) {
				level = slog.LevelWarn
			}
			r.Log.Log(context.Background(), level, "rule chains: "+f)
		}
	}
	r.facts = said
}

func (r *Rules) forgetChain(id proto.UUID) {
	delete(r.heads, id)
	delete(r.bodies, id)
	r.mu.Lock()
	delete(r.problems, id)
	r.mu.Unlock()
	r.engine.Delete(id)
}

// SetFile has another chain count in place of that of Options.File, which is not nil.
func (r *Rules) SetFile(text []byte) {
	r.next.Store(&text)
	r.changed.Store(true)
	r.engine.Wake()
}

// loadFile takes a chain as ThingsBoard's UI exports it, once.
func (r *Rules) loadFile() error {
	text := r.File
	if next := r.next.Swap(nil); next != nil {
		text = *next
	} else if len(r.heads) > 0 {
		return nil
	}
	head, body, err := rules.Export(text)
	if err != nil {
		return err
	}
	r.heads[rules.ExportedID] = sha256.Sum256(head)
	if err := r.engine.Head(head); err != nil {
		return err
	}
	_, err = r.engine.Metadata(body)
	r.sayFacts()
	return err
}

// MaxFile bounds the file of a chain, in bytes.
const MaxFile = 1 << 20
