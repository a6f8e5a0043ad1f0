package payload

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// inPieces reads a text through windows that grow by step bytes, as a door does, and returns what
// the events hold, and the error.
func inPieces(t testing.TB, text string, step int) (got []string, err error) {
	var p Parser
	var r Rows
	from, to := 0, 0
	for {
		last := to == len(text)
		events, used, err := p.Next(&r, []byte(text[from:to]), last, testID, testNow)
		if err != nil && (!last || len(events) > 0 || used > 0) || used > to-from || len(events) > batchEvents {
			t.Fatalf("%d events, %d of %d bytes used, last %v: %v", len(events), used, to-from, last, err)
		}
		if err != nil {
			return got, err
		}
		for _, d := range decode(t, events) {
			l := d.PostTelemetryMsg.TsKvList[0]
			got = append(got, fmt.Sprintf("%d %s", l.Ts, showAll(l.Kv)))
		}
		from += used
		switch {
		case r.Done():
			if from != len(text) {
				t.Fatalf("done at %d of %d", from, len(text))
			}
			return got, nil
		case used > 0:
		case last:
			t.Fatalf("neither done nor an error, %q is left", text[from:])
		default:
			to = min(len(text), to+step)
		}
	}
}

// comparePieces holds a text that is read in pieces against the same read whole.
func comparePieces(t testing.TB, text string, step int) {
	got, gotErr := inPieces(t, text, step)
	var p Parser
	events, err := p.Telemetry([]byte(text), testID, testNow)
	if err != nil && strings.Contains(err.Error(), "elements in one message") {
		return
	}
	var want []string
	for _, d := range decode(t, events) {
		l := d.PostTelemetryMsg.TsKvList[0]
		want = append(want, fmt.Sprintf("%d %s", l.Ts, showAll(l.Kv)))
	}
	if fmt.Sprint(gotErr) != fmt.Sprint(err) || err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%q in pieces of %d: %q, %v\nwhole: %q, %v", text, step, got, gotErr, want, err)
	}
}

var rowsTexts = []string{
	`[{"ts":1,"values":{"a":1}},{"b":2},{"ts":-1,"values":{}}]`, `[]`, ` [ ] `, `{"a":1}`, "\ufeff \n)]}'\n[{a:1}] \n",
	`[{a:1}//,{b:2}` + "\n" + `,{c:3}/*]*/;{d:4}#]` + "\r" + `]`, `[{"a":"]}"},{'b':'\''}]`, `[{a:1},5,{b:2}]`, `[{a:1},]`, `[{a:1}] x`,
	`[{a:1}`, `[{a:1},{b:"x`, `[{a:1},{b:\x}]`, `hello`, `5`, ``, ` `, `/`, `[/`, `[{a:1}/`, `[{a:1}/*`, `{a:1}//`, `[,]`, `{"a":1}{"b":2}`,
	`[{"ts":1,"values":{"":1}}]`, "[{\"é\":\"🌡\"},{\xc3\xa9:1}]",
}

func TestRowsInPieces(t *testing.T) {
	for _, text := range rowsTexts {
		for step := 1; step <= len(text)+1; step++ {
			comparePieces(t, text, step)
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, text := range append(rowsTexts, lenientSeeds...) {
		f.Add(text, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, step uint8) {
		if strings.ToValidUTF8(text, "") == text {
			comparePieces(t, text, 1+int(step))
		}
	})
}

// TestRowsHaveNoEnd reads more rows than one message may hold, and more than one call makes.
func TestRowsHaveNoEnd(t *testing.T) {
	const n = MaxEvents + 10*batchEvents
	text := "[" + strings.Repeat(`{a:1},`, n-1) + `{a:2}]`
	got, err := inPieces(t, text, len(text))
	if err != nil || len(got) != n || got[n-1] != fmt.Sprintf("%d a=l2", int64(testNow)) {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

// TestRowsAreBounded holds the buffers of a parser to what one call may make.
func TestRowsAreBounded(t *testing.T) {
	for _, row := range []string{
		`{},`, `{"a":1},`, `{"ts":1700000000000,"values":{"t":20.5,"h":50,"p":1000.1}},`,
		`{"a":[` + strings.Repeat("1,", 500) + `1]},`,
	} {
		var p Parser
		var r Rows
		window := []byte("[" + strings.Repeat(row, 512<<10/len(row)))
		total := 0
		for {
			events, used, err := p.Next(&r, window[total:], false, testID, testNow)
			if err != nil {
				t.Fatal(err)
			}
			if total += used; len(events) == 0 && used == 0 {
				break
			}
			size := 0
			for i := range events {
				size += len(events[i].Fragment)
			}
			if len(events) > batchEvents || size > batchBytes+2<<10 {
				t.Fatalf("%s: %d events, %d bytes in one call", row, len(events), size)
			}
		}
		if total < 512<<10-len(row) || p.Retained() > 4*batchBytes {
			t.Errorf("%.20s: %d bytes used, the parser keeps %d", row, total, p.Retained())
		}
	}
}

// TestRowsSayWhatIsCut expects an error to say whether more text could have helped.
func TestRowsSayWhatIsCut(t *testing.T) {
	for text, want := range map[string]bool{
		`[{a:1},{b:"x`: true, `[{a:1},{b:2`: true, `[{a:1}`: true, `[{a:1},{b:2 c`: false, `[{a:1}]x`: false, `[5,`: false,
	} {
		_, err := inPieces(t, text, 4)
		var e *Error
		if !errors.As(err, &e) || e.Cut != want {
			t.Errorf("%s: %#v", text, err)
		}
	}
}
