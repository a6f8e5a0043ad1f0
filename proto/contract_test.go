package proto

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestContractTables: every message and enum has the numbers, types and presences of the contract's
// tables, and nothing beside them. A number of our own could be one that another release uses
// (CONTRACT.md 1.2, 1.3, 1.4, 1.5).
func TestContractTables(t *testing.T) {
	text, err := os.ReadFile("testdata/contract.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			want = append(want, strings.TrimRight(line, "\t\n"))
		}
	}
	var got []string
	for _, file := range []protoreflect.FileDescriptor{File_edge_proto, File_telemetry_proto} {
		for i := range file.Enums().Len() {
			e := file.Enums().Get(i)
			for j := range e.Values().Len() {
				got = append(got, fmt.Sprintf("enum %s\t%d\t%s", e.Name(), e.Values().Get(j).Number(), e.Values().Get(j).Name()))
			}
		}
		for i := range file.Messages().Len() {
			m := file.Messages().Get(i)
			if m.Fields().Len() == 0 {
				got = append(got, fmt.Sprintf("%s\t0", m.Name()))
			}
			for j := range m.Fields().Len() {
				f := m.Fields().Get(j)
				got = append(got, fmt.Sprintf("%s\t%d\t%s\t%s", m.Name(), f.Number(), f.Name(), shape(f)))
			}
		}
	}
	if len(want) < 300 {
		t.Errorf("only %d rows in the table", len(want))
	}
	for _, row := range want {
		if !slices.Contains(got, row) {
			t.Errorf("missing: %q", row)
		}
	}
	for _, row := range got {
		if !slices.Contains(want, row) {
			t.Errorf("not in the contract: %q", row)
		}
	}
}

func shape(f protoreflect.FieldDescriptor) string {
	typ := f.Kind().String()
	switch {
	case f.Message() != nil:
		typ = string(f.Message().Name())
	case f.Enum() != nil:
		typ = string(f.Enum().Name())
	}
	switch {
	case f.IsList():
		return typ + "\trepeated"
	case f.Message() != nil:
		return typ + "\tmessage"
	case f.HasPresence():
		return typ + "\texplicit"
	}
	return typ + "\timplicit"
}

// TestServicePath: the path is all that the server sees of the names (CONTRACT.md 1.1).
func TestServicePath(t *testing.T) {
	if EdgeRpcService_HandleMsgs_FullMethodName != "/edge.EdgeRpcService/handleMsgs" {
		t.Errorf("the path is %s", EdgeRpcService_HandleMsgs_FullMethodName)
	}
	d := EdgeRpcService_ServiceDesc
	if len(d.Methods) != 0 || len(d.Streams) != 1 || !d.Streams[0].ClientStreams || !d.Streams[0].ServerStreams {
		t.Errorf("the service is %+v", d)
	}
}

// TestRanks: the server processes the parts of a message in this order, whatever their numbers
// (CONTRACT.md 4.2).
func TestRanks(t *testing.T) {
	order := []Kind{20, 3, 4, 19, 16, 23, 24, 18, 2, 5, 22, 6, 17, 21, 7, 8, 9, 26, 10, 11, 12, 14, 15, 25, 27, 28, 29, 30}
	for i, k := range order {
		if int(k.Rank()) != i+1 {
			t.Errorf("part %d (%v) has rank %d, want %d", k, k, k.Rank(), i+1)
		}
	}
	fields := (&UplinkMsg{}).ProtoReflect().Descriptor().Fields()
	if n := fields.Len() - 1; n != len(order) { // without the id
		t.Errorf("%d parts are ranked of %d", len(order), n)
	}
}
