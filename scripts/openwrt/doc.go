// Package openwrt holds edgesync's service on OpenWrt: the init script, the hook of the clock, what
// an upgrade of the system keeps, and the scripts of the packages. Nothing of it is Go but the
// tests, which run the scripts in busybox with stand-ins for procd, uci and ubus. The stand-ins are
// held by testdata/tried.json, which is what the real procd.sh made of testdata/tried.init.
package openwrt
