package main

import (
	"net"
	"slices"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	var a attempts
	for _, at := range []int64{100, 100, 103, 103, 103, 104} {
		a.add(time.Unix(at, 999))
	}
	if got, want := a.list(), []second{{100, 2}, {103, 3}, {104, 1}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i := range int64(maxSeconds) {
		a.add(time.Unix(200+i, 0))
	}
	if l := a.list(); len(l) != maxSeconds || l[0] != (second{200, 1}) || l[maxSeconds-1] != (second{200 + maxSeconds - 1, 1}) {
		t.Errorf("%d seconds are kept, from %v to %v", len(l), l[0], l[len(l)-1])
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var a attempts
	c := &counted{lis, &a}
	for range 2 {
		n, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if n, err = c.Accept(); err != nil {
			t.Fatal(err)
		}
		n.Close()
	}
	c.Close()
	if _, err := c.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	sum := 0
	for _, s := range a.list() {
		sum += s.Count
	}
	if sum != 2 {
		t.Errorf("%d connections, want 2", sum)
	}
}
