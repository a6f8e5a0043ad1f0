package mqttfuzz

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"edgesync/sync/device/mqtt"
)

// tooLong says whether a list may have a Subscription Identifier of more than four bytes.
func tooLong(list []byte) bool {
	for i := range list {
		if rest := list[i:]; len(rest) > 4 && rest[0] == packets.PropSubscriptionIdentifier &&
			rest[1]&rest[2]&rest[3]&rest[4] >= 0x80 {
			return true
		}
	}
	return false
}

// FuzzProperties gives both codecs a list of properties and nothing behind it that could be read by
// mistake, so that few differences are left.
func FuzzProperties(f *testing.F) {
	for kind := range byte(5) {
		for id := range byte(43) {
			for _, value := range []string{
				"\x01", "\x00\x01", "\x00\x00\x00\x01", "\x00\x01x", "\x00\x01x\x00\x00", "\x80\x80\x01",
				"\x00\x01\xff",
			} {
				f.Add(kind, append([]byte{id}, value...))
			}
		}
		f.Add(kind, []byte("\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w"))
		f.Add(kind, []byte("\x21\x00\x01\x11\x00\x00\x00\x01\x27\x00\x00\x00\x01\x22\x00\x01\x19\x01\x17\x00"))
		f.Add(kind, []byte("\x18\x00\x00\x00\x01\x01\x01\x02\x00\x00\x00\x01\x03\x00\x01x"))
		f.Add(kind, []byte("\x08\x00\x01y\x09\x00\x01\xff"))
	}
	f.Fuzz(func(t *testing.T, kind byte, list []byte) {
		if len(list) >= 1<<28 {
			return
		}
		packed := append(appendLength(nil, len(list)), list...)
		var c mqtt.Connect
		var p mqtt.Publish
		var s mqtt.Subscription
		var err error
		var ours *mqtt.Properties
		var theirKind byte
		join := func(before string, after string) []byte { return append(append([]byte(before), packed...), after...) }
		switch kind % 5 {
		case 0:
			err = c.Decode(whole(0x10, join("\x00\x04MQTT\x05\x00\x00\x00", "\x00\x00")))
			theirKind, ours = packets.Connect, &c.Properties
		case 1:
			err = c.Decode(whole(0x10, join("\x00\x04MQTT\x05\x04\x00\x00\x00\x00\x00", "\x00\x00\x00\x00")))
			theirKind, ours = packets.WillProperties, &c.Will.Properties
		case 2:
			err = p.Decode(5, whole(0x30, join("\x00\x00", "payload")))
			theirKind, ours = packets.Publish, &p.Properties
		case 3:
			err = s.Decode(5, whole(0x82, join("\x00\x01", "\x00\x01a\x01")))
			theirKind, ours = packets.Subscribe, &s.Properties
		case 4:
			err = s.Decode(5, whole(0xa2, join("\x00\x01", "\x00\x01a")))
			theirKind, ours = packets.Unsubscribe, &s.Properties
		}
		var theirs packets.Properties
		n, theirErr := theirs.Decode(theirKind, bytes.NewBuffer(packed))
		// The door refused both behind the codec.
		notOffered := theirs.TopicAliasFlag || theirKind == packets.Publish && len(theirs.SubscriptionIdentifier) > 0
		twice := ourFault("properties", "one that may come once comes twice")(5, nil, err)
		switch {
		case theirErr == nil && n != len(packed):
			t.Fatalf("%x: the other took %d of %d bytes", list, n, len(packed))
		case theirErr == nil && notOffered:
			if err == nil {
				t.Errorf("kind %d, %x: accepted", kind%5, list)
			}
		case err == nil && theirErr == nil:
			if !bytes.Equal(*ours, list) {
				t.Errorf("kind %d, %x: properties %x", kind%5, list, []byte(*ours))
			}
			sameProperties(t, *ours, theirs)
		case err == nil:
			t.Errorf("kind %d, %x: accepted; refused by the other: %v", kind%5, list, theirErr)
		case theirErr == nil && !twice && !tooLong(list):
			t.Errorf("kind %d, %x: %v; accepted by the other", kind%5, list, err)
		}
	})
}
