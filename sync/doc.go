// Package sync is the agent: configuration, the intake, and the one loop that carries events to the cloud.
package sync

import _ "github.com/BurntSushi/toml" // reads the configuration
