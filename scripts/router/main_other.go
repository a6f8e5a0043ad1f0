//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "router: the emulated router needs Linux")
	os.Exit(1)
}
