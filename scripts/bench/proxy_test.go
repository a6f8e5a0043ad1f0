//go:build linux

package main

import (
	"io"
	"net"
	"testing"
)

// TestProxyCounts: bytes pass unchanged and are counted in their direction.
func TestProxyCounts(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	heard := make(chan string, 1)
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 5)
		_, _ = io.ReadFull(c, b)
		heard <- string(b)
		_, _ = io.WriteString(c, "an answer")
		c.Close()
	}()
	p, err := newProxy(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	c, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if err != nil || string(said) != "an answer" {
		t.Errorf("heard back %q, %v", said, err)
	}
	if h := <-heard; h != "hello" {
		t.Errorf("the server heard %q", h)
	}
	if p.up.Load() != 5 || p.down.Load() != 9 {
		t.Errorf("counted %d up and %d down, want 5 and 9", p.up.Load(), p.down.Load())
	}
}
