//go:build !linux

package status

import "io"

// screenSize is what the smallest usual terminal has.
func screenSize(io.Writer) (columns, rows int) { return 80, 23 }
