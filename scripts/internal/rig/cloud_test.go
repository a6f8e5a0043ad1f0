package rig

import (
	"fmt"
	"testing"
)

func TestFirstLineWaitsForListening(t *testing.T) {
	f := &firstLine{got: make(chan string, 1)}
	for _, part := range []string{"some warning\nliste", "ning grpc=127.0.0.1:1 con", "trol=127.0.0.1:2\nmore\n", "and more"} {
		if n, err := fmt.Fprint(f, part); n != len(part) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(part), err)
		}
	}
	grpc, control, err := parseListening(<-f.got)
	if grpc != "127.0.0.1:1" || control != "127.0.0.1:2" || err != nil {
		t.Errorf("got %q, %q, %v", grpc, control, err)
	}
}

func TestParseListeningRefusesHalf(t *testing.T) {
	for _, line := range []string{"listening", "listening grpc=127.0.0.1:1", "listening control=127.0.0.1:1"} {
		if _, _, err := parseListening(line); err == nil {
			t.Errorf("%q passes", line)
		}
	}
}

func TestDialable(t *testing.T) {
	for addr, want := range map[string]string{
		":8080": "127.0.0.1:8080", "[::]:8080": "127.0.0.1:8080", "0.0.0.0:1": "127.0.0.1:1",
		"127.0.0.1:1": "127.0.0.1:1", "192.0.2.1:80": "192.0.2.1:80",
	} {
		if got := dialable(addr); got != want {
			t.Errorf("%s is dialled as %s, want %s", addr, got, want)
		}
	}
}
