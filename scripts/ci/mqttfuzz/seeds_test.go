package mqttfuzz

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

type seed struct {
	version, head byte // version-3
	body          []byte
}

// decodeSeeds are a few packets of each kind, and those of the other codec's own tests, right and
// wrong.
func decodeSeeds() (all []seed) {
	for version := range byte(3) {
		for kind, cases := range packets.TPacketData {
			for _, c := range cases {
				if b := c.RawBytes; len(b) >= 2 {
					if n, used := binary.Uvarint(b[1:]); used > 0 && n <= uint64(len(b)) {
						all = append(all, seed{version, b[0], b[1+used:]})
					} else {
						all = append(all, seed{version, kind << 4, b[2:]})
					}
				}
			}
		}
	}
	for _, s := range witnesses {
		all = append(all, s.seed)
	}
	return all
}

// witnesses has a packet for each difference.
var witnesses = []struct {
	difference string
	seed
}{
	{"a property twice", seed{2, 0x10, []byte("\x00\x04MQTT\x05\x00\x00\x00\x06\x21\x00\x01\x21\x00\x01\x00\x00")}},
	{"a property that is longer than the list of properties", seed{2, 0x30, []byte("\x00\x01t\x01\x01\x00")}},
	{"a variable byte integer of more than four bytes", seed{2, 0x30, []byte("\x00\x01t\x80\x80\x80\x80\x00")}},
	{panics, seed{2, 0x82, []byte("\x00\x01\x00\x00\x01a")}},
	{"flags of PUBACK, PUBREC, PUBCOMP, PINGREQ and DISCONNECT", seed{1, 0xc1, nil}},
	{"a PUBLISH with QoS 0 that says it is a duplicate", seed{1, 0x38, []byte("\x00\x01t")}},
	{"reason and properties of acknowledgements and of DISCONNECT", seed{2, 0x40, []byte("\x00\x01\x00\x02\x21\x00")}},
}

// Each difference is one: as soon as the codecs agree the list gets shorter.
func TestDifferences(t *testing.T) {
	left := map[string]bool{panics: true}
	for _, d := range append(weRefuse[:len(weRefuse):len(weRefuse)], theyRefuse...) {
		if d.why == "" {
			t.Errorf("%s: no reason", d.name)
		}
		left[d.name] = true
	}
	for _, w := range witnesses {
		if got := compare(t, 3+w.version, w.head, w.body); got != w.difference {
			t.Errorf("%x: %q, want %q", w.body, got, w.difference)
		}
		delete(left, w.difference)
	}
	for name := range left {
		t.Errorf("no packet shows: %s", name)
	}
}

// valid tells whether a text may be sent as a string of the protocol.
func valid(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }
