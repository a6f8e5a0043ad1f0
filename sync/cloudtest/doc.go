// Package cloudtest is a ThingsBoard cloud in a box.
package cloudtest
