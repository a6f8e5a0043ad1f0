// Package dashboards holds dashboards and alarms for people who look after many gateways, as files
// in the import forms of ThingsBoard, Prometheus and Grafana. README.md says what is what. There is
// no code but the tests, which hold the files to what the agent reports.
package dashboards
