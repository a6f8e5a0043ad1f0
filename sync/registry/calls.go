package registry

import (
	"errors"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// maxCalls bounds the persistent calls kept over a restart.
const maxCalls = 1024

// KeepCall stages a call of the cloud that must outlive a restart, because the server sends it once
// only (CONTRACT.md 8.1). A call that is kept again, with its answer in it, replaces the first.
func (r *Registry) KeepCall(c *proto.DeviceRpcCallMsg) error {
	r.write.Lock()
	defer r.unlock()
	if err := r.relieve(); err != nil {
		return err
	}
	value, err := pb.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	key := callKey(c)
	if !r.has(key) && len(r.idsOf(calls)) >= maxCalls {
		return errFull
	}
	return r.put(key, value)
}

// DropCall stages the end of a kept call.
func (r *Registry) DropCall(c *proto.DeviceRpcCallMsg) error {
	r.write.Lock()
	defer r.unlock()
	_, err := r.remove(callKey(c))
	return err
}

// Calls lists the calls kept over a restart.
func (r *Registry) Calls() (list []*proto.DeviceRpcCallMsg) {
	r.write.Lock()
	defer r.unlock()
	for _, key := range r.keysOf(calls) {
		text, _ := r.get(key)
		c := new(proto.DeviceRpcCallMsg)
		if err := pb.Unmarshal(text, c); err != nil {
			_, err = r.remove(key)
			if err = errors.Join(err); err != nil {
				r.log.Warn("the registry cannot be written", "error", err)
			}
			continue
		}
		list = append(list, c)
	}
	return list
}

func callKey(c *proto.DeviceRpcCallMsg) string {
	return calls.key(proto.UUIDOf(c.GetRequestUuidMSB(), c.GetRequestUuidLSB()))
}
