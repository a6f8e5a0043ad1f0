// Command release makes what people download from binaries that are built: packages for OpenWrt
// (ipk and apk) and Debian (deb), an image for containers, release notes, and SHA256SUMS over all
// of it. `make release` calls it; README.md tells a person what comes out and how to check it.
//
// The same commit gives the same bytes, in whatever directory and at whatever time: every time in a
// package is that of the commit, every list is sorted, and nothing names the machine. Packages are
// written by nfpm, which is not part of go.mod; this program gives it one description a package.
//
// What goes into which package is one table, in contents.go; which binary runs on which board is
// another, in targets.go. The scripts and service files that they name lie in scripts/openwrt and
// scripts/debian.
package main
