//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: measures with /proc, so on Linux only")
	os.Exit(1)
}
