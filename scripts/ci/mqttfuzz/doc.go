// Package mqttfuzz holds the MQTT codec of the product against that of a broker,
// github.com/mochi-mqtt/server, which the product used before it had its own. Both must accept the
// same packets and find the same fields in them, but for a short list of differences, each with its
// reason. It is a module of its own: the product depends on no broker.
//
//	scripts/ci/mochi vet    vet it and run its seeds, as `make lint` does
//	scripts/ci/mochi fuzz   look for differences for FUZZTIME (10m)
package mqttfuzz
