//go:build !race

package cli

import (
	"fmt"

	"edgesync/sync/cloudtest"
)

// packages sends packages in messages of so many MiB, which is the announced size. Memory may be as
// much larger than with those of 8 MiB as the messages are, and no more.
func packages(name string, mib int, keep string) strain {
	size := mib << 20
	return strain{
		name: name, cloud: true, alone: true, more: size - 8<<20,
		before: func(s *site) {
			s.link, s.extra = fmt.Sprintf("max_inbound_message_size = %d\n", size), keep
		},
		drive: func(r *running) {
			const times = 4
			p := cloudtest.Package{ID: r.cloud.Tenant().NewID(), Title: "fw", Data: firmware((size - 2<<10) / 4 * 3)}
			kept := uint64(0)
			for n := range times {
				p.Version = fmt.Sprint(n)
				r.cloud.UploadPackage(p)
				if keep != "" {
					kept++
				}
				r.eventually("it is here", func() bool {
					return r.received("otaPackageUpdateMsg") == uint64(n+1) && r.part("otaPackageUpdateMsg") == kept
				})
			}
			if dropped := r.cloud.Stats().TooBig; dropped != 0 {
				r.Errorf("%d packages were dropped by the cloud", dropped)
			}
		},
	}
}

// received counts what came of a part of the cloud's messages.
func (r *running) received(name string) uint64 {
	for _, p := range r.snapshot().Parts {
		if p.Name == name {
			return p.Received
		}
	}
	return 0
}
