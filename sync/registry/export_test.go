package registry

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"edgesync/proto"
)

// MaxEdits is maxEdits.
const MaxEdits = maxEdits

var shortNames = map[*kind]string{
	deviceProfiles: "devprofile", devices: "device", deviceCredentials: "devcreds", assetProfiles: "assetprofile",
	assets: "asset", entityViews: "view",
	ruleChains: "chain", ruleChainMetadata: "metadata", dashboards: "dashboard", alarms: "alarm",
	alarmComments: "comment", customers: "customer",
	relations: "relation", widgetsBundles: "bundle", widgetTypes: "widget", users: "user", userCredentials: "usercreds", otaPackages: "ota",
	tenants: "tenant", tenantProfiles: "tenantprofile", resources: "resource", calculatedFields: "field",
	formerMetadata: "former", attributes: "attrs", creations: "creation", calls: "call",
	{letter: edits}: "edit",
}

// Kinds counts the records of each kind, those not flushed included: "asset 1, device 2". Kinds
// named in but are left out.
func (r *Registry) Kinds(but ...string) string {
	r.write.Lock()
	defer r.write.Unlock()
	var list []string
next:
	for k, name := range shortNames {
		for _, b := range but {
			if b == name {
				continue next
			}
		}
		if n := len(r.keysOf(k)); n > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}

// Record reads the one record of a kind with that id.
func (r *Registry) Record(name string, id proto.UUID) string {
	for k, n := range shortNames {
		if n == name {
			v, _ := r.get(k.key(id))
			return string(v)
		}
	}
	return ""
}

// Keys lists the keys of a kind.
func (r *Registry) Keys(name string) []string {
	r.write.Lock()
	defer r.write.Unlock()
	for k, n := range shortNames {
		if n == name {
			return r.keysOf(k)
		}
	}
	return nil
}

// Digests lists the keys of the index of credentials; DigestKey is the key of this process.
func (r *Registry) Digests() (list [][16]byte) {
	for d := range r.credentials {
		list = append(list, d)
	}
	return list
}

func (r *Registry) DigestKey() [32]byte { return r.key }

// RefuseWrites makes the store refuse all further writes.
func (r *Registry) RefuseWrites() { _ = r.store.Close() }

// ShareOf is the bound of a registry on a medium with so many bytes free.
var ShareOf = shareOf

// Staged counts the bytes that wait for a flush.
func (r *Registry) Staged() int { return r.stagedBytes }

// RecordMost bounds a record of several attributes in bytes.
const RecordMost = attributeRecord

// AttributeRecord is the length in bytes of a record of attributes, and how many are in it.
func (r *Registry) AttributeRecord(key string) (length, n int) {
	v, _ := r.get(key)
	list, _ := decodeAttributes(v)
	return len(v), len(list)
}

// OldAttributes is the one record in which all attributes of an entity and scope stood before they
// were split: its key, and its value of string attributes at a time.
func OldAttributes(id proto.UUID, s Scope, ts int64, kvs map[string]string) (key string, value []byte) {
	var list []attribute
	for _, name := range slices.Sorted(maps.Keys(kvs)) {
		list = append(list, attribute{ts, proto.KV{Key: []byte(name), Type: proto.KeyValueType_STRING_V, Str: []byte(kvs[name])}})
	}
	return attributeKey(s, id), encodeAttributes(list)
}
