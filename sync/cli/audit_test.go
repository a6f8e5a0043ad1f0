package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// An audit says what became of the events, and shows nothing of what they hold.
func TestAudit(t *testing.T) {
	made := makeQueue(t)
	noteDropped(made, 3)
	dir := "--data_dir=" + made
	code, out, errs := call(t, nil, "audit", dir)
	if code != 0 || errs != "" {
		t.Fatalf("%d, %q", code, errs)
	}
	for _, want := range []string{
		"edgesync audit 1\nmade ", "Z by edgesync dev\nedge \"\" at \"\"\nof what was accepted from the beginning to ", "\nbegin ",
		"\n00000000000000000001 1 8 2026-01-02T03:04:05.678Z ",
		"\nof that time, and still in the files: accepted 7 = acknowledged 2 + pending 4 + dead 1\n",
		"\nlacking in these files: events 0 = damaged 0 + thinned 0\n", "\nof that time, wherever they lie: dead_letters 1\n",
		"\nover the life of the data directory: accepted 7 = acknowledged 2 + pending 4 + dropped 0 + dead 1 + damaged 0\n",
		"\ndropped: person 3\nof these, the last: events 3\nwhich were accepted from unknown to unknown\nend ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, secret := range []string{"hush-hush", "temperature", "evil", "Validation"} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is in\n%s", secret, out)
		}
	}
	hour := func(n int) string { return base.Add(time.Duration(n) * time.Hour).Format(time.RFC3339Nano) }
	_, out, _ = call(t, nil, "audit", dir, "--from", hour(1), "--to", hour(3))
	if want := "in the files: accepted 3 = acknowledged 1 + pending 1 + dead 1\n"; !strings.Contains(out, want) {
		t.Errorf("%q is not in\n%s", want, out)
	}
	for args, want := range map[string]string{
		"--from 1h --to 2h":      "--from is behind --to",
		"--from 2026":            "write a time as",
		"--data_dir=/nowhere/at": "there is no queue",
		"--verify /nowhere/at":   "no such file",
		"--verify=":              "--verify is empty",
		"--out a --verify b":     "either --out or --verify",
		"--out " + made:          "file exists",
	} {
		code, out, errs := call(t, nil, append([]string{"audit", dir}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: %d, %s %s", args, code, out, errs)
		}
	}
}

// What an audit lists is compared with the queue and with itself: files that are gone are said to
// be, and whatever was changed in either is found.
func TestAuditIsVerified(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	queue := filepath.Join(dir, "queue")
	q, err := wal.Open(wal.Options{Dir: queue, SegmentSize: 4096, KeepBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		e := wal.Event{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: first, Time: time.Now().UnixMilli(),
			Fragment: proto.AppendTelemetry(nil, first, "DEVICE", int64(i), number("temperature", 21)),
		}
		if err := q.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(q.Commit(q.End(), 200, 0), q.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "audit.txt")
	if code, out, errs := call(t, nil, "audit", "--data_dir="+dir, "--out", file); code != 0 || out+errs != "" {
		t.Fatal(code, out, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	entries, err := filepath.Glob(filepath.Join(queue, "0*"))
	if err != nil || len(entries) < 4 || !strings.Contains(text, "in the files: accepted 200 = acknowledged 200 + pending 0 + dead 0\n") {
		t.Fatalf("%d files, %v\n%s", len(entries), err, text)
	}
	n := len(entries)
	verify := func(what string, code int, want ...string) {
		t.Helper()
		got, out, errs := call(t, nil, "audit", "--data_dir="+dir, "--verify", file)
		for _, w := range want {
			if got != code || !strings.Contains(out+errs, w) {
				t.Errorf("%s: %d, %q is not in\n%s%s", what, got, w, out, errs)
			}
		}
	}
	verify("as it was", 0, fmt.Sprintf("%d agree, 0 gone, 0 differ\n", n+2))
	altered := func(what, from, to string, want ...string) {
		t.Helper()
		if !strings.Contains(text, from) {
			t.Fatalf("%s: %q is not in it", what, from)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(text, from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		verify(what, 1, want...)
	}
	lines := strings.SplitAfter(text, "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, filepath.Base(entries[1])) })
	altered("counts", "acknowledged 200", "acknowledged 201", "end                   differs: the text up to here was changed", "1 differ")
	altered("the head", "by edgesync dev", "by edgesync 9", "begin                 differs")
	altered("a line is missing", lines[at], "", "differs: the text up to here was changed")
	altered("an offset", strings.Fields(lines[at])[1]+" ", "1 ", "differs: the text")
	altered("the end is missing", lines[len(lines)-2], "", "end                   differs: it is missing")
	altered("more", lines[len(lines)-2], lines[len(lines)-2]+"more\n", "behind the end        differs: there is more")
	altered("another title", auditTitle, "edgesync audit 2", "is no audit")
	altered("a long line", "made ", strings.Repeat("made ", 2000), "token too long")
	altered("nothing", text, "", "is no audit")
	// A sum that fits does not make a line one of an audit.
	sum := newChain()
	forged := auditTitle + "\n../../../etc/passwd 1 2 - - 5 " + strings.Repeat("0", 64) + " "
	sum.Write([]byte(forged))
	altered("another file", text, forged+sum.next()+"\n", "../../../etc/passwd   differs: it is no line of an audit")

	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(entries[0]); err != nil {
		t.Fatal(err)
	}
	verify("one is gone", 0, filepath.Base(entries[0])+"  gone\n", fmt.Sprintf("%d agree, 1 gone, 0 differ\n", n+1))
	damaged, err := os.ReadFile(entries[2])
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(entries[2], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	verify("one is damaged", 1, filepath.Base(entries[2])+"  differs: the file was changed",
		fmt.Sprintf("%d agree, 1 gone, 1 differ\n", n))
	if err := os.Truncate(entries[1], 100); err != nil {
		t.Fatal(err)
	}
	verify("one is short", 1, filepath.Base(entries[1])+"  differs: EOF", "2 differ\n")
	if err := os.Remove(entries[3]); err != nil {
		t.Fatal(err)
	}
	verify("one is missing in the middle", 1,
		filepath.Base(entries[3])+"  differs: it is missing, while older ones are there", "3 differ\n")
	if code, out, errs := call(t, nil, "audit", "--data_dir="+dir); code != 0 ||
		!strings.Contains(out, "lacking in these files: events ") || strings.Contains(out, "damaged 0 ") ||
		!strings.Contains(out, "was accepted before ") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// An empty queue has an audit too.
	empty := filepath.Join(t.TempDir(), "data")
	if q, err = wal.Open(wal.Options{Dir: filepath.Join(empty, "queue")}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, nil, "audit", "--data_dir="+empty); code != 0 || !strings.Contains(out, "in the files: accepted 0 = ") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}
