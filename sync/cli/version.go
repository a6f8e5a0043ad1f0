package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
)

// version is what `edgesync version --json` prints. A field once published keeps its name and
// meaning.
type version struct {
	Version   string `json:"version"`
	Committed string `json:"committed,omitempty"` // RFC 3339, of the commit that was built
	Go        string `json:"go"`
	Platform  string `json:"platform"` // linux/mipsle softfloat
	Protocol  string `json:"protocol"` // that is announced unless cloud.edge_version says otherwise
}

// built describes this program.
func built(number string, commit time.Time) version {
	v := version{Version: number, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if !commit.IsZero() {
		v.Committed = commit.UTC().Format(time.RFC3339)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "GO"+strings.ToUpper(strings.TrimSuffix(runtime.GOARCH, "le")) {
				v.Platform += " " + s.Value
			}
		}
	}
	d := config.Defaults()
	n := proto.EdgeVersion(d.Cloud.EdgeVersion)
	v.Protocol = fmt.Sprintf("ThingsBoard Edge %s (%d)", strings.ReplaceAll(strings.TrimPrefix(n.String(), "V_"), "_", "."), n)
	return v
}

func (p *program) versionCommand(args []string) int {
	t := p.newTool("version", "")
	t.flags.BoolVar(&t.json, "json", false, "")
	if _, code, done := t.parse(args, 0); done {
		return code
	}
	v := built(p.full(), p.Commit)
	if t.json {
		return t.end(json.NewEncoder(p.stdout).Encode(v))
	}
	fmt.Fprintf(p.stdout, "edgesync %s\ncommitted  %s\nbuilt with %s\nfor        %s\nprotocol   %s\n",
		v.Version, orDash(v.Committed), v.Go, v.Platform, v.Protocol)
	return exitOK
}
