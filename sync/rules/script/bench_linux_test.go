package script

import (
	"testing"

	"edgesync/sync/rules/spent"
)

// BenchmarkRun is what one node costs a message. The message is parsed once for all nodes of a
// chain.
func BenchmarkRun(b *testing.B) {
	msg := `{"temperature":41.5,"humidity":60,"deviceId":"a1b2c3","battery":3.6,"status":{"code":5,"text":"ok"}}`
	metadata := []Pair{{Key: "deviceName", Value: "th-1"}, {Key: "deviceType", Value: "thermostat"}, {Key: "ts", Value: "1767225600123"}}
	for _, c := range []struct {
		name, script string
		lang         Language
	}{
		{"threshold", "return msg.temperature > 40;", TBEL},
		{"range", "return msg.temperature > 40 && msg.temperature < 80 && msg.humidity != null;", TBEL},
		{"type", "return msgType == 'POST_TELEMETRY_REQUEST' && metadata.deviceType == 'thermostat';", TBEL},
		{"fromMetadata", "return msg.temperature > parseDouble(metadata.ts);", TBEL},
		{"nested", "return msg.status.code == 5;", TBEL},
		{"switch", "return msg.temperature > 30 ? 'hot' : 'normal';", TBEL},
		{"transform", "msg.f = toFixed(msg.temperature * 1.8 + 32, 1);\nreturn {msg: msg, metadata: metadata, msgType: msgType};", TBEL},
		{"javascript", "return msg.temperature > 40;", JavaScript},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := Compile(c.lang, c.script, Arguments)
			if err != nil {
				b.Fatal(err)
			}
			var d Doc
			if err := d.Parse(msg); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			report := spent.From(b)
			for b.Loop() {
				if _, err := p.Run(testClock, Args{Msg: &d, Metadata: metadata, MsgType: "POST_TELEMETRY_REQUEST"}); err != nil {
					b.Fatal(err)
				}
			}
			report()
		})
	}
	b.Run("parse", func(b *testing.B) {
		var d Doc
		b.ReportAllocs()
		report := spent.From(b)
		for b.Loop() {
			if err := d.Parse(msg); err != nil {
				b.Fatal(err)
			}
		}
		report()
	})
}
