// Package rules executes rule chains on the edge.
package rules
