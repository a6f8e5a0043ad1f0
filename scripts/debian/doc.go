// Package debian holds edgesync's service on Debian: the unit, the user, the scripts of the package
// and its documents. Nothing of it is Go but the tests, which install, upgrade, remove and purge
// the package with the real dpkg in a root of its own.
package debian
