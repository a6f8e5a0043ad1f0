package device

import (
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync"
	"edgesync/sync/device/charset"
	"edgesync/sync/share"
)

const (
	readSize   = 64 << 10 // bytes that are read of a body at a time, at most
	everything = math.MaxInt
)

var errBodySize = errors.New("device: body larger than allowed")

// body is the body of a request, as UTF-8, as it comes. One goroutine uses it.
type body struct {
	text []byte // what has come and is not done with; pooled
	raw  []byte // what is not UTF-8 comes here; nil as long as nobody has sent that
	pass share.Pass

	// Of this request.
	from    io.Reader
	coming  *arrival // nil in tests without a connection
	ctx     context.Context
	budget  *share.Budget
	sender  proto.UUID
	decoder charset.Decoder
	limit   int64 // bytes of the body
	most    int64 // bytes of it that are wanted now
	came    int64
	left    int // at the end of text, or of raw: the beginning of a character
	whole   bool
}

// open prepares b for the body of r.
func (b *body) open(r *http.Request, d charset.Decoder, budget *share.Budget, sender proto.UUID, limit int64) {
	b.text, b.raw = b.text[:0], b.raw[:0]
	b.from, b.ctx, b.budget, b.sender = r.Body, r.Context(), budget, sender
	b.coming, _ = r.Body.(*arrival)
	b.decoder, b.limit, b.came, b.left, b.whole = d, limit, 0, 0, false
}

// close gives the bytes back, and what the request held.
func (b *body) close() {
	b.pass.Close()
	b.from, b.coming, b.ctx = nil, nil, nil
}

// ready is the text that has come, without the beginning of a character.
func (b *body) ready() []byte {
	if b.decoder.IsUTF8() {
		return b.text[:len(b.text)-b.left]
	}
	return b.text
}

// drop forgets the first n bytes of the text.
func (b *body) drop(n int) { b.text = b.text[:copy(b.text, b.text[n:])] }

// fill reads until at least size bytes of text are there, or more than most of the body have come,
// or all of it. A text beyond freeBody takes the bytes of its buffer from the budget; the pass is
// then open, also where fill returns an error.
func (b *body) fill(size int, most int64) error {
	b.most = most
	for !b.whole && len(b.text) < size && b.came <= most {
		var n int
		var err error
		if b.decoder.IsUTF8() {
			n, err = b.readText()
		} else {
			n, err = b.readRaw()
		}
		if b.pass.IsOpen() {
			if err := b.pass.Moved(n); err != nil {
				return err
			}
		}
		switch {
		case b.came > b.limit:
			return errBodySize
		case errors.Is(err, io.EOF):
			b.whole = true
			return b.end()
		case err != nil:
			return err
		}
	}
	return nil
}

// readText reads UTF-8 to where it is to be.
func (b *body) readText() (n int, err error) {
	if err := b.grow(1); err != nil {
		return 0, err
	}
	from := len(b.text)
	n, err = b.from.Read(b.text[from:min(cap(b.text), from+readSize)])
	b.came += int64(n)
	b.text = b.text[:from+n]
	if taken := b.take(); taken != nil {
		return n, taken
	}
	from -= b.left
	good := from + charset.Valid(b.text[from:])
	if b.left = len(b.text) - good; b.left == 0 {
		return n, err
	}
	// The beginning of a character, or what is no UTF-8 at all: rare enough for a copy.
	tail := append([]byte(nil), b.text[good:]...)
	b.text = b.text[:good]
	if err := b.decode(tail, false); err != nil {
		return n, err
	}
	b.text = append(b.text, tail[len(tail)-b.left:]...)
	return n, err
}

// readRaw reads what is not UTF-8.
func (b *body) readRaw() (n int, err error) {
	if cap(b.raw) == 0 {
		b.raw = make([]byte, 0, freeBody)
	}
	n, err = b.from.Read(b.raw[b.left:cap(b.raw)])
	b.came += int64(n)
	raw := b.raw[:b.left+n]
	if err := b.decode(raw, false); err != nil {
		return n, err
	}
	copy(b.raw[:cap(b.raw)], raw[len(raw)-b.left:])
	return n, err
}

// end decodes what is left when the body has come whole.
func (b *body) end() error {
	if b.left == 0 {
		return nil
	}
	if !b.decoder.IsUTF8() {
		return b.decode(b.raw[:b.left], true)
	}
	good := len(b.text) - b.left
	tail := append([]byte(nil), b.text[good:]...)
	b.text = b.text[:good]
	return b.decode(tail, true)
}

// decode appends what src says to the text. What is left of src is the caller's.
func (b *body) decode(src []byte, last bool) error {
	if err := b.grow(3 * len(src)); err != nil {
		return err
	}
	b.text, b.left = b.decoder.Append(b.text, src, last)
	return b.take()
}

// grow makes room for n more bytes. The buffer grows with what has come, not with what was
// announced: it doubles, to the largest body that is wanted. Only text that takes more bytes than
// it came in needs more.
func (b *body) grow(n int) error {
	need := len(b.text) + n
	if need <= cap(b.text) {
		return nil
	}
	to := min(2*cap(b.text), int(b.most)+1)
	if to < need {
		to = need + need/4
	}
	if to > freeBody {
		if err := b.hold(to); err != nil {
			return err
		}
	}
	grown := make([]byte, len(b.text), to)
	copy(grown, b.text)
	b.text = grown
	return nil
}

// take takes the bytes of a buffer that was there from the budget, once the text needs them.
func (b *body) take() error {
	if b.pass.IsOpen() || len(b.text) <= freeBody {
		return nil
	}
	return b.hold(cap(b.text))
}

// hold takes size bytes from the budget. Of texts beyond wholeBody there is one at a time: what is
// made of it on its way to the cloud takes as much again, several times.
func (b *body) hold(size int) error {
	if size >= roomyBody {
		sync.MakeRoom()
	}
	if size > wholeBody+1 {
		size = max(size, b.budget.Most()/2+1)
	}
	if !b.pass.IsOpen() {
		b.budget.Open(&b.pass, b.sender, b.coming)
	}
	waited, err := b.pass.Grow(size, b.ctx.Done())
	b.coming.Stood(waited)
	return err
}

// ours notes that we are the reason why nothing of the body moves.
func (b *body) ours() error {
	if !b.pass.IsOpen() {
		return nil
	}
	return b.pass.Ours()
}

// theirs ends that, and gives the sender the time back.
func (b *body) theirs(stood time.Duration) {
	if b.pass.IsOpen() {
		b.pass.Theirs()
	}
	b.coming.Stood(stood)
}

// shrink gives back what a buffer has beyond size bytes, if that is much and not needed.
func (b *body) shrink(size int) error {
	if len(b.text) > size/2 || cap(b.text) <= 2*size {
		return nil
	}
	b.text = append(make([]byte, 0, size), b.text...)
	return b.hold(size)
}

// describe judges the headers that describe the body. status is 0 if it may be JSON text, which d
// decodes.
func describe(head http.Header) (d charset.Decoder, status int, why string) {
	if e := head.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return d, http.StatusUnsupportedMediaType, "a compressed body is not supported, as on ThingsBoard"
	}
	t := head.Get("Content-Type")
	switch t {
	// curl -d sends the type of a form by default; its text is JSON all the same.
	case "", "application/json", "text/plain", "application/x-www-form-urlencoded":
		return d, 0, ""
	}
	media, params, err := mime.ParseMediaType(t)
	if err != nil || !strings.Contains(media, "/") {
		return d, http.StatusUnsupportedMediaType, "the Content-Type is not a media type"
	}
	if media == "multipart/form-data" {
		return d, http.StatusBadRequest, "send the JSON text itself, not a form"
	}
	d, ok := charset.Named(params["charset"])
	if !ok {
		return d, http.StatusUnsupportedMediaType, "the charset is not known here; send the JSON text in UTF-8"
	}
	return d, 0, ""
}
