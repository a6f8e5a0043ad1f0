package status

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// maxPage bounds what the page takes on the wire, and of the program, in bytes.
const maxPage = 20 << 10

// packed is a file of the page without the lines that are comments, and without indentation.
func packed(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("page", name))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line != "" && (!strings.HasSuffix(name, ".js") || !strings.HasPrefix(line, "//")) {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func unpacked(t *testing.T, data []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is served is what stands in page/: `make page` packs it (PACK_PAGE=1).
func TestPageIsPacked(t *testing.T) {
	for name, have := range map[string][]byte{"page.html": packedHTML, "page.css": packedCSS, "page.js": packedJS} {
		want := packed(t, name)
		if os.Getenv("PACK_PAGE") != "" {
			var b bytes.Buffer
			z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
			io.WriteString(z, want)
			z.Close()
			if err := os.WriteFile(filepath.Join("page", name+".gz"), b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if unpacked(t, have) != want {
			t.Errorf("%s.gz is not %s: run make page", name, name)
		}
	}
	if n := len(packedHTML) + len(packedCSS) + len(packedJS); n > maxPage {
		t.Errorf("the page takes %d bytes, at most %d", n, maxPage)
	}
}

// The page refers to nothing outside, and holds nothing that its policy forbids; each id that the
// script wants is there, and each field of the report.
func TestPage(t *testing.T) {
	html, css, js := packed(t, "page.html"), packed(t, "page.css"), packed(t, "page.js")
	all := strings.NewReplacer("http://www.w3.org/2000/svg", "", `"https://" + location.hostname`, "").Replace(html + css + js)
	for _, no := range []string{
		"http://", "https://", "innerHTML", "outerHTML", "insertAdjacent", "eval(", " style=",
		" onclick=", "<style", "@import", "url(",
	} {
		if strings.Contains(all, no) {
			t.Errorf("the page holds %q", no)
		}
	}
	for _, m := range regexp.MustCompile(`(?:el|text|list|order|open|filter)\("([a-z0-9-]+)"`).FindAllStringSubmatch(js, -1) {
		if !strings.Contains(html, `id="`+m[1]+`"`) && !strings.HasSuffix(m[1], "-") {
			t.Errorf("the script wants #%s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\b(?:s|last)\.([a-z]+_[a-z_]+|[a-z]+)\b`).FindAllStringSubmatch(js, -1) {
		known := " " + strings.Join(published, " ") + " mqtt_tls_address http_tls_address health "
		known += "length map forEach find filter includes toLowerCase slice split test trim replace events " // of other things
		if !strings.Contains(known, " "+m[1]+" ") {
			t.Errorf("the script wants the field %s", m[1])
		}
	}
}

// The page goes packed to who unpacks, plain to who does not, and not at all to who has it.
func TestPageIsServed(t *testing.T) {
	h := Handler(Source{Snapshot: func() agent.Snapshot { return sample() }})
	for path, want := range map[string]struct{ contentType, file string }{
		"/":         {"text/html; charset=utf-8", "page.html"},
		"/page.css": {"text/css; charset=utf-8", "page.css"},
		"/page.js":  {"text/javascript; charset=utf-8", "page.js"},
	} {
		text := packed(t, want.file)
		r := httptest.NewRequest("GET", path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.String() != text || w.Header().Get("Content-Type") != want.contentType ||
			w.Header().Get("Content-Security-Policy") != contentPolicy || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s, plain: %d %v", path, w.Code, w.Header())
		}
		r.Header.Set("Accept-Encoding", "gzip, br")
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Header().Get("Content-Encoding") != "gzip" || unpacked(t, w.Body.Bytes()) != text {
			t.Errorf("%s, packed: %v", path, w.Header())
		}
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("%s, known: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}
