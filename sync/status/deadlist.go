package status

import (
	"encoding/json"
	"net/http"
	"net/url"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/plain"
)

// DeadList is the JSON of GET /api/edgesync/dead: dead letters by offset.
type DeadList struct {
	Letters []DeadLine `json:"letters"`
	Next    uint64     `json:"next,omitempty"` // offset to go on from
}

// DeadLine is a dead letter with the name of its entity, if that is known.
type DeadLine struct {
	agent.DeadLetter
	Name string `json:"name,omitempty"`
}

// serveDead lists dead letters for who is logged in, a user of a customer what is the customer's.
func serveDead(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers) {
	u, ok := needs(w, r, src, false)
	if !ok {
		return
	}
	from, ok := number(query.Get("from"), 0)
	if !ok || src.Dead == nil {
		http.Error(w, "from is an offset", http.StatusBadRequest)
		return
	}
	answer, ok := going.take(w, r, eventsAnswer)
	if !ok {
		return
	}
	list, next, err := src.Dead.List(r.Context(), from, lettersPerAnswer)
	if err != nil {
		answer.pass.Close()
		w.Header().Set("Retry-After", "2")
		http.Error(w, clean(err.Error()), http.StatusServiceUnavailable)
		return
	}
	l := DeadList{Letters: []DeadLine{}, Next: next}
	for i := range list {
		if id, ok := proto.ParseUUID(list[i].Entity); ok && u.Sees(id) {
			l.Letters = append(l.Letters, DeadLine{list[i], plain.Cut(src.Events.Name(id), eventName)})
		}
	}
	data, _ := json.Marshal(&l) // nothing in it can fail
	answer.send("application/json", data)
}
