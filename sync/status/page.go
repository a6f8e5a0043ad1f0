package status

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the page
	"encoding/hex"
	"io"
	"net/http"
	"strings"
)

// The page's parts as they go over the wire: what stands in page/ without its comments and
// indentation, packed. TestPageIsPacked makes them anew (`make page`).
var (
	//go:embed page/page.html.gz
	packedHTML []byte
	//go:embed page/page.css.gz
	packedCSS []byte
	//go:embed page/page.js.gz
	packedJS []byte
)

// contentPolicy has a browser run what this agent serves, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// unpacking is what it takes to unpack a part for who does not, in bytes.
const unpacking = 192 << 10

// part is one file of the page.
type part struct {
	contentType string
	packed      []byte
}

// partOf is the part of the page at a path; nil if there is none.
func partOf(path string) *part {
	switch path {
	case "/":
		return &part{"text/html; charset=utf-8", packedHTML}
	case "/page.css":
		return &part{"text/css; charset=utf-8", packedCSS}
	case "/page.js":
		return &part{"text/javascript; charset=utf-8", packedJS}
	}
	return nil
}

// serve writes the part, which a browser keeps until it is another one.
func (p *part) serve(w http.ResponseWriter, r *http.Request, going *answers) {
	h := w.Header()
	tag := `"` + hex.EncodeToString(p.packed[len(p.packed)-8:]) + `"` // gzip's checksum and length
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", tag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(p.packed) // nothing to do if the reader went away
		return
	}
	answer, ok := going.take(w, r, unpacking)
	if !ok {
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(p.packed))
	var data []byte
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if err != nil {
		answer.pass.Close()
		http.Error(w, "the page is damaged", http.StatusInternalServerError)
		return
	}
	answer.send(p.contentType, data)
}
