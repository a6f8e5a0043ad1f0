package cloudtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// tapeLine is a line of testdata/*.jsonl (see testdata/README.md).
type tapeLine struct {
	Line   int             `json:"line"`
	MS     float64         `json:"ms"`
	Note   string          `json:"note"`
	JSON   json.RawMessage `json:"json"`
	Up     *string         `json:"up"`
	Down   string          `json:"down"`
	Answer *struct {
		ID      int32  `json:"id"`
		Success bool   `json:"success"`
		Error   string `json:"error"`
	} `json:"answer"`
}

// rest is a recorded call of the server's REST API.
type rest struct {
	Answer json.RawMessage `json:"answer"`
	Body   json.RawMessage `json:"body"`
	Status int             `json:"status"`
}

func readTape(t testing.TB, name string) []tapeLine {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []tapeLine
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l tapeLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines = append(lines, l)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// tapeUplinks lists the uplinks of a recording.
func tapeUplinks(t testing.TB, name string) (list [][]byte) {
	for _, l := range readTape(t, name) {
		if l.Up == nil {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(*l.Up)
		if err != nil {
			continue
		}
		var m proto.RequestMsg
		if err := pb.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if raw, err = pb.Marshal(m.UplinkMsg); err != nil {
			t.Fatal(err)
		}
		list = append(list, raw)
	}
	return list
}
