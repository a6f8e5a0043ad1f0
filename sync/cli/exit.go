package cli

import (
	"errors"
	"fmt"
	"strings"

	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// Exit codes (doc.go, "The surface"). 75 and 78 are EX_TEMPFAIL and EX_CONFIG of sysexits.h.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 75
	exitConfig = 78
)

// unknown prints that there is no such command, and the one that was most likely meant.
func (p *program) unknown(command string) int {
	hint := ""
	if n := config.Nearest(command, commands()...); n != "" {
		hint = "; did you mean " + n + "?"
	}
	fmt.Fprintf(p.stderr, "edgesync: unknown command %q%s\nRun \"edgesync help\" for the list.\n", command, hint)
	return exitUsage
}

// usage prints what is wrong with the arguments and which help to read.
func (p *program) usage(topic, what string) int {
	fmt.Fprintf(p.stderr, "edgesync: %s\nRun \"edgesync help %s\" for all flags.\n", what, topic)
	return exitUsage
}

// fail prints an error for people and chooses the exit code.
func (p *program) fail(err error) int {
	switch {
	case errors.Is(err, config.ErrInvalid):
		fmt.Fprintf(p.stderr, "edgesync: the configuration is wrong:\n  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
		return exitConfig
	case errors.Is(err, disk.ErrLocked):
		fmt.Fprintf(p.stderr, "edgesync: %v\n", err)
		return exitLocked
	}
	fmt.Fprintf(p.stderr, "edgesync: %v\n", err)
	return exitFailed
}
