package link

import "testing"

func TestRedact(t *testing.T) {
	const short = "*** (left out: the edge's secret, which is in this text, is too short)"
	for _, c := range []struct{ text, secret, want string }{
		{"request secret: s3cret, s3cret", "s3cret", "request secret: ***, ***"},
		{"request secret: s3cret", "", "request secret: s3cret"},
		{"the edge is unknown", "s3cret", "the edge is unknown"},
		{"request secret: ques", "ques", short}, // "re***t" would tell it
		{"the edge is unknown", "x", "the edge is unknown"},
	} {
		if got := Redact(c.text, c.secret); got != c.want {
			t.Errorf("Redact(%q, %q) = %q, want %q", c.text, c.secret, got, c.want)
		}
	}
}
