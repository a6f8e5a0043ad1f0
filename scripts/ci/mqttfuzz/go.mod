module edgesync/scripts/ci/mqttfuzz

go 1.26.0

require (
	edgesync v0.0.0
	github.com/mochi-mqtt/server/v2 v2.7.9
)

replace edgesync => ../../..
