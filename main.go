// Command edgesync connects a small gateway and its devices to ThingsBoard, as a ThingsBoard Edge.
package main

import (
	"os"
	"strconv"
	"time"

	"edgesync/sync/cli"
)

// version is what people call this build. The build sets it: -ldflags "-X main.version=1.2.3".
var version = "dev"

// built is the time of the commit that was built, in seconds since the epoch. The build sets it:
// -ldflags "-X main.built=1767225600".
var built string

func main() {
	b := cli.Build{Version: version}
	if s, err := strconv.ParseInt(built, 10, 64); err == nil {
		b.Commit = time.Unix(s, 0)
	}
	os.Exit(cli.Main(b))
}
