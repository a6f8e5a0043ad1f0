// Package cli is the command line of edgesync: the commands, their flags and exit codes, and the wiring of all rooms into one agent.
package cli
