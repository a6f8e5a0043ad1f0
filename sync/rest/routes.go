package rest

import (
	"strings"
)

// route is one path. A "*" stands for any one segment.
type route struct {
	method, path string
	who          who
	do           func(c *call) (any, error)
	waits        bool // for a device: gives its slot to other requests meanwhile
}

type who uint8

const (
	anybody who = iota
	users
	admins
)

// Routes in the order in which they are tried.
var routes = []route{
	{"POST", "auth/login", anybody, (*call).login, false},
	{"POST", "auth/token", anybody, (*call).refresh, false},
	{"POST", "auth/logout", users, (*call).logout, false},
	{"GET", "auth/user", users, (*call).whoami, false},

	{"POST", "device/credentials", admins, (*call).saveCredentials, false},
	{"GET", "device/*/credentials", users, (*call).credentials, false},
	{"POST", "device-with-credentials", admins, (*call).saveWithCredentials, false},
	{"GET", "tenant/devices", admins, func(c *call) (any, error) { return c.list(deviceDef, "deviceName") }, false},
	{"GET", "tenant/assets", admins, func(c *call) (any, error) { return c.list(assetDef, "assetName") }, false},
	{"GET", "tenant/device", admins, func(c *call) (any, error) { return c.byName(deviceDef, "deviceName") }, false},
	{"GET", "tenant/asset", admins, func(c *call) (any, error) { return c.byName(assetDef, "assetName") }, false},
	{"GET", "edge/*/devices", admins, func(c *call) (any, error) { return c.listOfEdge(deviceDef) }, false},
	{"GET", "edge/*/assets", admins, func(c *call) (any, error) { return c.listOfEdge(assetDef) }, false},
	{"GET", "edge/events", admins, (*call).events, false},
	{"GET", "edge/info/*", admins, (*call).edgeInfo, false},
	{"POST", "edge/sync/*", admins, (*call).syncEdge, false},
	{"GET", "tenant/entityViews", admins, func(c *call) (any, error) { return c.list(viewDef, "entityViewName") }, false},
	{"GET", "tenant/dashboards", users, func(c *call) (any, error) { return c.list(dashboardDef, "dashboardName") }, false},
	{"GET", "customer/*/devices", users, func(c *call) (any, error) { return c.listOf(deviceDef) }, false},
	{"GET", "customer/*/assets", users, func(c *call) (any, error) { return c.listOf(assetDef) }, false},

	{"POST", "device", users, func(c *call) (any, error) { return c.save(deviceDef) }, false},
	{"GET", "device/*", users, func(c *call) (any, error) { return c.get(deviceDef) }, false},
	{"DELETE", "device/*", admins, func(c *call) (any, error) { return c.delete(deviceDef) }, false},
	{"POST", "asset", users, func(c *call) (any, error) { return c.save(assetDef) }, false},
	{"GET", "asset/*", users, func(c *call) (any, error) { return c.get(assetDef) }, false},
	{"DELETE", "asset/*", admins, func(c *call) (any, error) { return c.delete(assetDef) }, false},
	{"POST", "entityView", admins, func(c *call) (any, error) { return c.save(viewDef) }, false},
	{"GET", "entityView/*", users, func(c *call) (any, error) { return c.get(viewDef) }, false},
	{"DELETE", "entityView/*", admins, func(c *call) (any, error) { return c.delete(viewDef) }, false},
	{"POST", "dashboard", admins, func(c *call) (any, error) { return c.save(dashboardDef) }, false},
	{"GET", "dashboard/*", users, func(c *call) (any, error) { return c.get(dashboardDef) }, false},
	{"DELETE", "dashboard/*", admins, func(c *call) (any, error) { return c.delete(dashboardDef) }, false},

	{"GET", "ruleChain/*", admins, (*call).ruleChain, false},
	{"GET", "ruleChain/*/metadata", admins, (*call).ruleChainMetadata, false},

	{"POST", "alarm", users, (*call).saveAlarm, false},
	{"POST", "alarm/*/ack", users, (*call).ackAlarm, false},
	{"POST", "alarm/*/clear", users, (*call).clearAlarm, false},
	{"GET", "alarm/info/*", users, (*call).alarm, false},
	{"GET", "alarm/*", users, (*call).alarm, false},
	{"DELETE", "alarm/*", users, (*call).deleteAlarm, false},
	{"GET", "alarm/*/*", users, (*call).alarmsOf, false},
	{"GET", "v2/alarm/*/*", users, (*call).alarmsOf, false},

	{"POST", "relation", users, (*call).saveRelation, false},
	{"POST", "v2/relation", users, (*call).saveRelation, false},
	{"GET", "relation", users, (*call).relation, false},
	{"DELETE", "relation", users, (*call).deleteRelation, false},
	{"DELETE", "v2/relation", users, (*call).deleteRelation, false},
	{"GET", "relations", users, (*call).relations, false},
	{"GET", "relations/from/*/*", users, func(c *call) (any, error) { return c.relationsAt(false) }, false},
	{"GET", "relations/from/*/*/*", users, func(c *call) (any, error) { return c.relationsAt(false) }, false},
	{"GET", "relations/to/*/*", users, func(c *call) (any, error) { return c.relationsAt(true) }, false},
	{"GET", "relations/to/*/*/*", users, func(c *call) (any, error) { return c.relationsAt(true) }, false},
	{"DELETE", "relations", users, (*call).deleteRelations, false},

	{"GET", "plugins/telemetry/*/*/values/attributes", users, onEntity((*call).attributes), false},
	{"GET", "plugins/telemetry/*/*/values/attributes/*", users, onEntity((*call).attributes), false},
	{"GET", "plugins/telemetry/*/*/keys/attributes", users, onEntity((*call).attributeKeys), false},
	{"GET", "plugins/telemetry/*/*/keys/attributes/*", users, onEntity((*call).attributeKeys), false},
	{"GET", "plugins/telemetry/*/*/values/timeseries", users, onEntity((*call).timeseries), false},
	{"GET", "plugins/telemetry/*/*/values/timeseries/history", users, onEntity((*call).timeseries), false},
	{"GET", "plugins/telemetry/*/*/keys/timeseries", users, onEntity((*call).timeseriesKeys), false},
	{"POST", "plugins/telemetry/*/*/timeseries/*", users, onEntity((*call).saveTimeseries), false},
	{"POST", "plugins/telemetry/*/*/timeseries/*/*", users, onEntity((*call).saveTimeseries), false},
	{"DELETE", "plugins/telemetry/*/*/timeseries/delete", users, onEntity((*call).deleteTimeseries), false},
	{"POST", "plugins/telemetry/*/*/attributes/*", users, onEntity((*call).saveAttributes), false},
	{"POST", "plugins/telemetry/*/*/*", users, onEntity((*call).saveAttributes), false},
	{"DELETE", "plugins/telemetry/*/*/*", users, onEntity((*call).deleteAttributes), false},
	{"POST", "plugins/telemetry/*/*", users, onDevice((*call).saveAttributes), false},
	{"DELETE", "plugins/telemetry/*/*", users, onDevice((*call).deleteAttributes), false},

	{"POST", "rpc/oneway/*", users, func(c *call) (any, error) { return c.rpc(true, false) }, true},
	{"POST", "rpc/twoway/*", users, func(c *call) (any, error) { return c.rpc(false, false) }, true},
	{"POST", "plugins/rpc/oneway/*", users, func(c *call) (any, error) { return c.rpc(true, true) }, true},
	{"POST", "plugins/rpc/twoway/*", users, func(c *call) (any, error) { return c.rpc(false, true) }, true},
}

// match finds the route of a request. If the path knows other methods only, allowed lists them.
func match(method, path string) (r *route, args []string, allowed string) {
	segments := strings.Split(path, "/")
	for i := range routes {
		a, ok := matchPath(routes[i].path, segments)
		switch {
		case !ok:
		case routes[i].method == method:
			return &routes[i], a, ""
		case !strings.Contains(allowed, routes[i].method):
			if allowed != "" {
				allowed += ", "
			}
			allowed += routes[i].method
		}
	}
	return nil, nil, allowed
}

func matchPath(pattern string, segments []string) (args []string, ok bool) {
	for i, s := range segments {
		var p string
		var more bool
		p, pattern, more = strings.Cut(pattern, "/")
		switch {
		case more != (i < len(segments)-1), s == "":
			return nil, false
		case p == "*":
			args = append(args, s)
		case p != s:
			return nil, false
		}
	}
	return args, true
}
