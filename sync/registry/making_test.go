package registry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"edgesync/proto"
)

// A cloud that provisions without an end leaves room for devices that are made here, and these
// leave room for its credentials.
func TestRoomForDevicesMadeHere(t *testing.T) {
	r, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := 0; ; i++ {
		err := r.put(assets.key(proto.NewUUID()), []byte(fmt.Sprintf(`{"name":"asset %d"}`, i)))
		if errors.Is(err, errFull) {
			break
		}
		if err != nil || i > maxRecords {
			t.Fatal(i, err)
		}
	}
	if got, want := r.room.unreserved.records, maxRecords*6/8; got > want {
		t.Errorf("the cloud has taken %d records, at most %d", got, want)
	}
	if _, _, err := r.Prepare(&proto.NewDevice{Name: "made here"}, time.Now()); err != nil {
		t.Errorf("a device is made here: %v", err)
	}
	if err := r.put(assets.key(proto.NewUUID()), []byte(`{"name":"one more"}`)); !errors.Is(err, errFull) {
		t.Errorf("the part for devices made here is open to the cloud: %v", err)
	}
	if err := r.put(deviceCredentials.key(proto.NewUUID()), []byte(`{"credentialsId":"x"}`)); err != nil {
		t.Errorf("credentials: %v", err)
	}
}

func TestDevicesAreBounded(t *testing.T) {
	r, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range maxDevices {
		id := proto.NewUUID()
		r.devices[id] = &entry{}
	}
	if err := r.put(devices.key(proto.NewUUID()), []byte(`{"name":"one more"}`)); !errors.Is(err, errFull) {
		t.Errorf("one more device: %v", err)
	}
	if err := r.put(assets.key(proto.NewUUID()), []byte(`{"name":"an asset"}`)); err != nil {
		t.Errorf("an asset: %v", err)
	}
}
