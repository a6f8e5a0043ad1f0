package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// stats is the body of GET /stats.
type stats struct {
	cloudtest.Stats
	Connected  bool   `json:"connected"`
	Edges      int    `json:"edges_connected"`
	Pending    int    `json:"pending_downlinks"`
	Points     uint64 `json:"points"`     // rows of time series written
	Duplicates uint64 `json:"duplicates"` // values for a row that existed already
	Dropped    uint64 `json:"dropped"`    // acknowledged and not stored, as on the server
}

func (o *operator) stats() stats {
	n := o.cloud.Tenant().Counts()
	s := stats{
		Stats: o.cloud.Stats(), Connected: o.cloud.Connected(o.edge.ID), Points: n.Points, Duplicates: n.Duplicates, Dropped: n.Dropped,
	}
	for _, e := range o.edges {
		s.Pending += o.cloud.Pending(e.ID)
		if o.cloud.Connected(e.ID) {
			s.Edges++
		}
	}
	return s
}

// row is one row of a time series in GET /series. Value is a JSON value; a stored JSON text comes
// as a string.
type row struct {
	TS     int64 `json:"ts"`
	Value  any   `json:"value"`
	Writes int   `json:"writes"`
}

// listed is a device in GET /devices.
type listed struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Token string `json:"token"`
}

// handler is the control endpoint: GET /stats, /attempts, /devices, /series?device=&key=,
// /arrivals?device=&key=, POST /command with a command line.
func (o *operator) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { reply(w, o.stats()) })
	mux.HandleFunc("GET /attempts", func(w http.ResponseWriter, _ *http.Request) { reply(w, o.tries.list()) })
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, _ *http.Request) {
		list := []listed{}
		for _, d := range o.cloud.Tenant().Devices() {
			list = append(list, listed{d.Name, proto.FormatUUID(d.ID), d.CredentialsID})
		}
		reply(w, list)
	})
	mux.HandleFunc("GET /series", func(w http.ResponseWriter, r *http.Request) {
		d, err := o.device(r.FormValue("device"))
		if err != nil {
			refuse(w, http.StatusNotFound, err)
			return
		}
		rows := []row{}
		for _, p := range o.cloud.Tenant().Series(d.ID, r.FormValue("key")) {
			rows = append(rows, row{p.TS, jsonValue(p.Value), p.Writes})
		}
		reply(w, rows)
	})
	mux.HandleFunc("GET /arrivals", func(w http.ResponseWriter, r *http.Request) {
		d, err := o.device(r.FormValue("device"))
		if err != nil {
			refuse(w, http.StatusNotFound, err)
			return
		}
		reply(w, append([]int64{}, o.cloud.Tenant().Arrivals(d.ID, r.FormValue("key"))...))
	})
	mux.HandleFunc("POST /command", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, err)
			return
		}
		answer, err := o.run(strings.TrimSpace(string(b)))
		if e := (*cloudtest.RPCError)(nil); errors.As(err, &e) {
			refuse(w, e.Status, err)
			return
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		reply(w, map[string]string{"answer": answer})
	})
	return mux
}

func jsonValue(v cloudtest.Value) any {
	switch v.Type {
	case proto.KeyValueType_BOOLEAN_V:
		return v.Bool
	case proto.KeyValueType_LONG_V:
		return v.Long
	case proto.KeyValueType_DOUBLE_V:
		return v.Dbl
	}
	return v.Str
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
