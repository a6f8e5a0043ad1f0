package cli

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// Provisioning over the agent's own door reaches the chain: a device that is made, and a request
// that fails because there is one of its name.
func TestProvisioningReachesTheChain(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	id := s.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(id)
	profile := []*proto.DeviceProfileUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
		`{"id":{"entityType":"DEVICE_PROFILE","id":%q},"tenantId":{"entityType":"TENANT","id":%q},"name":"meters","type":"DEFAULT",`+
			`"provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"key","profileData":{"provisionConfiguration":`+
			`{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":"secret"}}}`,
		proto.FormatUUID(id), proto.FormatUUID(s.cloud.Tenant().TenantID()))}}
	if o := s.cloud.Tenant().Process(s.edge.ID, &proto.UplinkMsg{DeviceProfileUpdateMsg: profile}, time.Now()); !o.Success {
		t.Fatalf("the tenant takes no profile: %+v", o)
	}
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{DeviceProfileUpdateMsg: profile})
	s.chain("births", []string{
		`filter.TbMsgTypeFilterNode|births|{"messageTypes":["ENTITY_CREATED","PROVISION_SUCCESS","PROVISION_FAILURE"]}`,
		`transform.TbTransformMsgNode|say|{"scriptLang":"TBEL","tbelScript":"var m = {}; m[msgType] = msg.name + ' ' + ` +
			`metadata.provisionDeviceKey; return {msg: m, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};"}`, pushNode,
	}, "0>1:True", "1>2:Success")
	s.ruled("births")
	provision := func(want string) {
		t.Helper()
		s.eventually("a device that provisions itself hears "+want, func() bool {
			res, err := http.Post("http://"+r.http+"/api/v1/provision", "application/json",
				strings.NewReader(`{"deviceName":"meter","provisionDeviceKey":"key","provisionDeviceSecret":"secret"}`))
			if err != nil {
				return false
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			return strings.Contains(string(b), `"status":"`+want+`"`)
		})
	}
	provision("SUCCESS")
	provision("FAILURE")
	d := s.mustBeNamed("meter")
	for key, want := range map[string]string{
		"ENTITY_CREATED": "meter null", "PROVISION_SUCCESS": "meter key", "PROVISION_FAILURE": "meter key",
	} {
		s.arrived(d, key, 1)
		if rows := s.cloud.Tenant().Series(d.ID, key); !strings.Contains(fmt.Sprintf("%+v", rows[0]), want) {
			t.Errorf("%s: %+v, want %s", key, rows, want)
		}
	}
	summed(t, r.snapshot())
}
