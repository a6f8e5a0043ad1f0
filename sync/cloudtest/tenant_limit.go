package cloudtest

import "fmt"

// limited are the kinds of which a tenant profile limits the number (CONTRACT.md 13.1), by the
// words that Limit takes.
var limited = map[string]entityType{
	"devices": typeDevice, "assets": typeAsset, "views": typeEntityView, "dashboards": typeDashboard,
	"chains": typeRuleChain, "users": typeUser, "fields": typeCalculatedField,
}

// Limit lets the tenant have at most n entities of a kind: devices, assets, views, dashboards,
// chains, users or fields. The limit lies: a creation from an edge beyond it is answered with
// success and not stored, and no answer tells (CONTRACT.md 13.1). A negative n ends the limit. What
// is there stays. An error means that there is no such kind.
func (t *Tenant) Limit(kinds string, n int) error {
	typ, ok := limited[kinds]
	if !ok {
		return fmt.Errorf("cloudtest: limit: no kind %q: devices, assets, views, dashboards, chains, users or fields", kinds)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits[typ] = 0
	if n >= 0 {
		t.limits[typ] = n + 1
	}
	return nil
}

// Refused counts the creations that a limit has swallowed.
func (t *Tenant) Refused() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.swallowed
}

// atLimit reports whether the tenant has as many entities of the type as it may.
func (t *Tenant) atLimit(typ entityType) bool {
	return t.limits[typ] > 0 && len(t.order[typ]) >= t.limits[typ]-1
}
