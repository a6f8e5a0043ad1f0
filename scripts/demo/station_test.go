package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestStationRepeatsUntilAccepted: a station whose posts fail in every temporary way repeats them,
// loses nothing and keeps the order.
func TestStationRepeatsUntilAccepted(t *testing.T) {
	s := &Station{Name: "test", Keys: []string{"v"}}
	for i := range 300 {
		s.Readings = append(s.Readings, Reading{TS: int64(1000 + i), Values: []string{"1.5"}})
	}
	var got []int64 // the server handles one post at a time: there is one station
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/token/telemetry" {
			t.Errorf("path %s", r.URL.Path)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch posts.Add(1) {
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 4:
			panic(http.ErrAbortHandler) // a connection that breaks before the answer
		}
		text := string(body)
		if !strings.HasPrefix(text, "[") {
			text = "[" + text + "]"
		}
		var rows []struct{ TS int64 }
		if err := json.Unmarshal([]byte(text), &rows); err != nil {
			t.Error(err)
		}
		for _, r := range rows {
			got = append(got, r.TS)
		}
	}))
	defer server.Close()
	var address atomic.Pointer[string]
	host := strings.TrimPrefix(server.URL, "http://")
	address.Store(&host)
	snd := &sender{station: s, token: "token", address: &address, client: server.Client()}
	if err := snd.run(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if len(got) != 300 || snd.acked.Load() != 300 {
		t.Fatalf("server has %d readings, station counts %d, want 300", len(got), snd.acked.Load())
	}
	for i, ts := range got {
		if ts != int64(1000+i) {
			t.Fatalf("reading %d has time %d", i, ts)
		}
	}
	if snd.repeats.Load() != 2 {
		t.Errorf("%d repeats, want 2", snd.repeats.Load())
	}
}

func TestStationGivesUpWhenRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	var address atomic.Pointer[string]
	host := strings.TrimPrefix(server.URL, "http://")
	address.Store(&host)
	s := &Station{Name: "test", Keys: []string{"v"}, Readings: []Reading{{TS: 1, Values: []string{"1"}}}}
	err := (&sender{station: s, token: "t", address: &address, client: server.Client()}).run(t.Context(), time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Fatalf("err = %v, want one that names 401", err)
	}
}
