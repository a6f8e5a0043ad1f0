// Package openwrt holds edgesync's service on OpenWrt: the init script, the hook of the clock, what
// an upgrade of the system keeps, the scripts of the packages, and in luci/ a page for LuCI, whose
// list of settings is made from config.toml.example.
//
// Nothing of it is Go but the tests. They run the scripts in busybox with stand-ins for procd, uci
// and ubus, which are held by testdata/tried.json: what the real procd.sh made of
// testdata/tried.init. They run LuCI's page in node, where there is one, with stand-ins for LuCI.
package openwrt
