//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "soak: watches the agent through /proc, so on Linux only")
	os.Exit(1)
}
