package config

import (
	"strings"
	"testing"
)

// What Kubernetes puts into the environment for services is no error; what a person misspells is.
func TestVariablesOfKubernetes(t *testing.T) {
	env := []string{
		"EDGESYNC_SERVICE_HOST=10.0.0.1", "EDGESYNC_SERVICE_PORT=8080", "EDGESYNC_SERVICE_PORT_HTTP=8080",
		"EDGESYNC_PORT=tcp://10.0.0.1:8080", "EDGESYNC_PORT_8080_TCP=tcp://10.0.0.1:8080", "EDGESYNC_PORT_8080_TCP_PROTO=tcp",
		"EDGESYNC_PORT_8080_TCP_PORT=8080", "EDGESYNC_PORT_8080_TCP_ADDR=10.0.0.1", "EDGESYNC_WEB_SERVICE_HOST=10.0.0.2",
		"EDGESYNC_WEB_PORT=tcp://10.0.0.2:80", "EDGESYNC_WEB_PORT_53_UDP_ADDR=10.0.0.2",
	}
	var f Flags
	if _, err := Load(&f, env); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{
		"EDGESYNC_PORT=8080", "EDGESYNC_PORT_X_TCP=1", "EDGESYNC_PORT_8080_TLS=1", "EDGESYNC_SERVICE=1", "EDGESYNC_SERVICE_PORTS=1",
		"EDGESYNC_CLOUD_PRT=7070",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		if _, err := Load(&f, append(env, wrong)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
