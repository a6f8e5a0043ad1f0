'use strict';
'require baseclass';

// Generated from config.toml.example: go test ./scripts/openwrt -run TestLuCIHasEveryKey -update

return baseclass.extend({
	service: [
		{ section: 'main', option: 'enabled', kind: 'flag', def: 'false', doc: 'whether the service runs' },
		{ section: 'main', option: 'jail', kind: 'flag', def: 'true', doc: 'a jail around the agent, if procd-ujail is installed' },
		{ section: 'main', option: 'memory_limit', kind: 'text', def: '', doc: 'such as 16MiB; left out: by the memory of the router' },
		{ section: 'main', option: 'config', kind: 'text', def: '', doc: 'a TOML file that counts instead of all settings but data_dir' }
	],
	list: [
		{ section: "main", option: "data_dir", kind: "text", def: "/srv/edgesync", doc: "directory of everything that must survive: queue, dead letters, registry" },
		{ section: "cloud", option: "host", kind: "text", def: "localhost", doc: "name or address of the ThingsBoard server" },
		{ section: "cloud", option: "port", kind: "number", def: "7070", doc: "port of its gRPC service for edges" },
		{ section: "cloud", option: "timeout", kind: "time", def: "5s", doc: "longest wait for dialling and TLS, and for the answer to the connect request" },
		{ section: "cloud", option: "routing_key", kind: "text", def: "", doc: "the edge's key, shown on its page in ThingsBoard" },
		{ section: "cloud", option: "routing_secret", kind: "text", def: "", doc: "the edge's secret, from the same page", secret: true },
		{ section: "cloud", option: "routing_secret_file", kind: "text", def: "", doc: "file that holds the secret, instead of routing_secret" },
		{ section: "cloud", option: "edge_version", kind: "number", def: "12", doc: "version of ThingsBoard Edge to announce, as its number in the protocol; 12 suits servers from 4.2.0 on" },
		{ section: "cloud", option: "max_inbound_message_size", kind: "size", def: "auto", doc: "largest message to take from the server, OTA packages among them; auto: by the memory, 8MiB to 64MiB" },
		{ section: "cloud_tls", option: "enabled", kind: "flag", def: "false", doc: "encrypt the link to the cloud" },
		{ section: "cloud_tls", option: "ca_file", kind: "text", def: "", doc: "PEM file of the authority to trust; empty: the system's" },
		{ section: "cloud_tls", option: "server_name", kind: "text", def: "", doc: "name that the server's certificate must bear; empty: cloud.host" },
		{ section: "batch", option: "size", kind: "number", def: "100", doc: "most events in one message to the cloud" },
		{ section: "batch", option: "timeout", kind: "time", def: "1s", doc: "longest wait of an event for more events; 0: send on arrival" },
		{ section: "retry", option: "interval", kind: "time", def: "3s", doc: "pause between tries of an event that the cloud refused" },
		{ section: "retry", option: "max", kind: "number", def: "10", doc: "tries of a refused event before it rests in the dead-letter log" },
		{ section: "reconnect", option: "interval", kind: "time", def: "3s", doc: "first bound of the random pause before a new connection; it doubles" },
		{ section: "reconnect", option: "max_interval", kind: "time", def: "60s", doc: "largest bound of that pause" },
		{ section: "keepalive", option: "time", kind: "time", def: "30s", doc: "silence after which the link is pinged" },
		{ section: "keepalive", option: "timeout", kind: "time", def: "10s", doc: "longest wait for the answer to a ping; then the link is given up" },
		{ section: "queue", option: "durability", kind: "text", def: "always", doc: "always: on flash before a device hears \"accepted\"; interval: written before, on flash every sync_interval", choices: ["always","interval"] },
		{ section: "queue", option: "sync_interval", kind: "time", def: "1s", doc: "time between two syncs with durability \"interval\": a power cut costs at most what came in it" },
		{ section: "queue", option: "max_bytes", kind: "size", def: "auto", doc: "room for waiting events; auto: half of what is free at the first start, 1MiB to 1GiB, on raw flash to 8MiB" },
		{ section: "queue", option: "max_age", kind: "time", def: "0", doc: "age at which a waiting event is dropped and counted; 0: never" },
		{ section: "queue", option: "policy", kind: "text", def: "drop_oldest", doc: "what gives way when the room is used up: drop_oldest, reject_new, thin", choices: ["drop_oldest","reject_new","thin"] },
		{ section: "queue", option: "keep_acknowledged", kind: "size", def: "0", doc: "bytes of events that stay here after the cloud has taken them, for edgesync replay; at most half of max_bytes" },
		{ section: "queue", option: "flash_budget", kind: "size", def: "0", doc: "bytes a day to write before commits are collected; 0: unlimited" },
		{ section: "queue", option: "max_delay", kind: "time", def: "1s", doc: "longest that a device waits for its answer when the flash budget is short" },
		{ section: "queue", option: "flash_endurance", kind: "size", def: "0", doc: "bytes that the medium bears, from its data sheet; status then shows how many years it lasts; 0: not known" },
		{ section: "registry", option: "keep", kind: "list", def: "", doc: "bulky things from the cloud to keep: widgets, images, ota", choices: ["widgets","images","ota"] },
		{ section: "rules", option: "mode", kind: "text", def: "cloud", doc: "cloud: the rule chains that the cloud assigns decide what goes up; off: everything does", choices: ["cloud","off"] },
		{ section: "rules", option: "on_failure", kind: "text", def: "push", doc: "what becomes of a message whose node failed: push it as it came, or drop it as ThingsBoard Edge does", choices: ["push","drop"] },
		{ section: "rules", option: "file", kind: "text", def: "", doc: "a rule chain as ThingsBoard's page exports it, in place of the cloud's" },
		{ section: "sync", option: "full", kind: "text", def: "first", doc: "when to ask the cloud for everything it has for this edge: first, never, always", choices: ["first","never","always"] },
		{ section: "sync", option: "repeat", kind: "time", def: "10s", doc: "what was acknowledged so shortly before a lost connection is sent again: the cloud may have lost it; 0: nothing" },
		{ section: "report", option: "interval", kind: "time", def: "5m", doc: "time between two reports of the agent's own figures, as telemetry of the edge; 0: none" },
		{ section: "http", option: "listen", kind: "text", def: ":8080", doc: "address for devices, the page, /metrics, /healthz, /readyz; empty: off" },
		{ section: "http", option: "max_body", kind: "size", def: "16MiB", doc: "largest request of a device" },
		{ section: "http_tls", option: "listen", kind: "text", def: "", doc: "address for the same with TLS (https), such as \":8443\"; empty: off" },
		{ section: "http_tls", option: "cert_file", kind: "text", def: "", doc: "PEM file with the certificate to show over HTTP, and those of its authorities" },
		{ section: "http_tls", option: "key_file", kind: "text", def: "", doc: "PEM file with its key" },
		{ section: "mqtt", option: "listen", kind: "text", def: ":1883", doc: "address for MQTT devices; empty: off" },
		{ section: "mqtt_map", option: "", kind: "tables", def: "", doc: "what becomes of gateways' topics that ThingsBoard does not know: tables of filter, device, type, as, key, prefix, flatten", fields: ["filter","device","type","as","key","prefix","flatten"] },
		{ section: "mqtt_tls", option: "listen", kind: "text", def: "", doc: "address for MQTT devices with TLS, such as \":8883\"; empty: off" },
		{ section: "mqtt_tls", option: "cert_file", kind: "text", def: "", doc: "PEM file with the certificate to show to MQTT devices, and those of its authorities" },
		{ section: "mqtt_tls", option: "key_file", kind: "text", def: "", doc: "PEM file with its key" },
		{ section: "log", option: "level", kind: "text", def: "info", doc: "debug, info, warn, error", choices: ["debug","info","warn","error"] },
		{ section: "log", option: "format", kind: "text", def: "text", doc: "a line of the log as text or as JSON", choices: ["text","json"] },
		{ section: "log", option: "target", kind: "text", def: "auto", doc: "stderr, procd or journal; auto: the journal where systemd gives it, else stderr", choices: ["auto","stderr","procd","journal"] }
	]
});
