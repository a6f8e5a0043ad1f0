// Package foreign matches the topics of programs that were not written for ThingsBoard (Tasmota,
// ESPHome, Shelly, zigbee2mqtt) and says which device and which keys their messages are about
// (API.md 10.1). It knows neither the configuration nor MQTT packets: package config makes maps,
// package device asks for a topic.
//
//	tele/kitchen/SENSOR
//	  │ Set.Find    the first map whose filter matches; what stood for each wildcard
//	  ▼ Match       Device, Key and Prefix with $1, $2, … written out
//
// # Invariants
//
//   - A Set does not change; any goroutine may use it.
//   - Find allocates nothing, and looks at no more than MaxMaps filters. A nil Set finds nothing.
//   - What Check lets pass can be compiled, and no template names a wildcard that is not there.
package foreign
