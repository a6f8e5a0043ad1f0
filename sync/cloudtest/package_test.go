package cloudtest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// connectTaking connects and announces a size.
func (c *client) connectTaking(e Edge, size int32) {
	c.send(&proto.RequestMsg{ConnectRequestMsg: &proto.ConnectRequestMsg{
		EdgeRoutingKey: e.RoutingKey, EdgeSecret: e.Secret, MaxInboundMessageSize: &size,
	}})
}

// A package goes to every edge. One that announced less than its size does not get it, and gets
// nothing else for a minute: calls fail meanwhile.
func TestPackageStallsAnEdge_13_2(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b, c := r.open(ackAll), r.open(ackAll), r.open(ackAll)
		a.connectTaking(edgeA, 100_000)
		b.connectTaking(edgeB, 1<<20)
		edgeC := Edge{ID: proto.UUID{0xc}, Name: "C", RoutingKey: "key-c", Secret: "secret-c"}
		r.tenant.SaveEdge(edgeC)
		c.connectTaking(edgeC, 0) // no check
		time.Sleep(1500 * time.Millisecond)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(time.Second)
		r.cloud.UploadPackage(Package{ID: proto.UUID{9}, Title: "fw", Version: "1", Data: make([]byte, 90_000)})
		time.Sleep(time.Second)
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		call := func() string {
			_, err := r.cloud.CallRPC(context.Background(), device(1, "").ID, "m", "{}", false, 0)
			return err.Error()
		}
		r.want("a call meanwhile", call(), "rpc: 504 NO_ACTIVE_CONNECTION")
		r.want("A so far", namesOf(a.downlinks()), `[device 0 {"name":"d"}]`)
		time.Sleep(60 * time.Second)
		r.want("A", secondsOf(a.downlinks()), "[2 63 63]")
		r.want("B", namesOf(b.downlinks()), "[other]")
		r.want("C", namesOf(c.downlinks()), "[other]")
		r.want("B in time", secondsOf(b.downlinks()), "[3]")
		r.want("too big", r.cloud.Stats().TooBig, 1)
	})
}

// A package is JSON as the server writes it, with the binary as base64 in it, comes with each full
// sync before the device profiles, and goes when it is deleted.
func TestPackageMessages_6_4(t *testing.T) {
	tenant := NewTenant()
	edge := Edge{ID: tenant.NewID(), RoutingKey: "k"}
	tenant.AddEdge(edge)
	id, m := tenant.UploadPackage(Package{Title: "a \"b\"", Version: "1.10", Data: []byte("binary")})
	var j struct {
		ID              struct{ EntityType, ID string }
		Type            string
		Title, Version  string
		HasData         bool
		Checksum        string
		DataSize        int
		Data            string
		DeviceProfileID struct{ ID string }
	}
	if err := json.Unmarshal([]byte(m.OtaPackageUpdateMsg[0].Entity), &j); err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(j.Data)
	if err != nil || string(data) != "binary" || j.DataSize != 6 || j.Type != "FIRMWARE" || j.Title != `a "b"` || j.Version != "1.10" ||
		j.ID.ID != proto.FormatUUID(id) || j.ID.EntityType != "OTA_PACKAGE" || !j.HasData ||
		j.Checksum != "9a3a45d01531a20e89ac6ae10b0b0beb0492acd7216a368aa062d1a5fecaf9cd" {
		t.Errorf("%+v, %v", j, err)
	}
	kinds := func(full bool) (packages int, order string) {
		for _, step := range tenant.Steps(edge.ID, full) {
			switch packages += len(step[0].OtaPackageUpdateMsg); {
			case len(step[0].OtaPackageUpdateMsg) > 0:
				order += "p"
			case len(step[0].DeviceProfileUpdateMsg) > 0:
				order += "d"
			}
		}
		return packages, order
	}
	if n, order := kinds(true); n != 1 || !strings.HasSuffix(order, "dpd") {
		t.Errorf("%d packages in a full sync, %s", n, order)
	}
	if n, _ := kinds(false); n != 0 {
		t.Errorf("%d packages in a sync of what changed", n)
	}
	for range maxPackages + 1 {
		tenant.UploadPackage(Package{Title: "more"})
	}
	if len(tenant.packages) != maxPackages || tenant.DeletePackage(id) != nil {
		t.Errorf("%d packages", len(tenant.packages))
	}
	id, _ = tenant.UploadPackage(Package{Title: "last"})
	d := tenant.DeletePackage(id)
	if d == nil || d.OtaPackageUpdateMsg[0].MsgType != deleted || len(tenant.packages) != maxPackages-1 {
		t.Errorf("deleted: %v, %d left", d, len(tenant.packages))
	}
}
