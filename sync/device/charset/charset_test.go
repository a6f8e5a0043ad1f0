package charset

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestNamed(t *testing.T) {
	for name, want := range map[string]string{ // what the bytes 41 E9 become
		"": "A�", "utf-8": "A�", "UTF8": "A�", "unicode-1-1-utf-8": "A�",
		"iso-8859-1": "Aé", "ISO_8859-1": "Aé", "ISO8859_1": "Aé", "8859_1": "Aé", "latin1": "Aé", "L1": "Aé", "cp819": "Aé",
		"windows-1252": "Aé", "Cp1252": "Aé", "us-ascii": "A�", "ASCII": "A�", "ANSI_X3.4-1968": "A�",
		"ISO-8859-15": "Aé", "latin9": "Aé", "ISO-8859-5": "Aщ", "windows-1251": "Aй", "KOI8-R": "AИ", "IBM850": "AÚ",
		"cp437": "AΘ", "windows-1253": "Aι", "TIS-620": "A\u0e49",
		"utf-16": "䇩", "UTF-16BE": "䇩", "UTF_16LE": "\ue941", "x-utf-16le": "\ue941", "utf-32": "�",
	} {
		d, ok := Named(name)
		if !ok {
			t.Errorf("%s is not known", name)
			continue
		}
		if got, left := d.Append(nil, []byte("A\xe9"), true); string(got) != want || left != 0 {
			t.Errorf("%s: %q and %d bytes, want %q", name, got, left, want)
		}
	}
	for _, name := range []string{"foo", "iso-8859-99", "windows-1299", "utf-7", "utf-8x", "Shift_JIS", "GBK", "ibm", "cp"} {
		if _, ok := Named(name); ok {
			t.Errorf("%s is known", name)
		}
	}
}

// texts are texts as bytes of a charset, and what a server's decoder makes of them.
var texts = []struct{ name, bytes, want string }{
	{"iso-8859-1", "\xb0C \x80\x9f", "°C \u0080\u009f"},
	{"windows-1252", "\x80 \x93\x94 \x81", "€ “” �"},
	{"us-ascii", "K\xfcche", "K�che"},
	{"iso-8859-15", "\xa4", "€"},
	{"koi8-r", "\xd4\xc5\xd0\xcc\xcf", "тепло"},
	{"utf-8", "K\xfcche \xe2\x82 \xed\xa0\x80 \xf0\x9f\x8c\xa1 \xf0\x9f", "K�che � � 🌡 �"},
	{"utf-8", "\xe0\x80\x80\xf5\x80\xc1\x81\xf4\x90\x80\x80", "�����������"},
	{"utf-8", "\xe2\x82", "�"},
	{"utf-8", "\xf0\x9f\x8c", "�"},
	{"utf-8", "\xef\xbb\xbfa", "\ufeffa"},
	{"utf-16", "\xfe\xff\x00a\xd8\x3c\xdf\x21", "a🌡"},
	{"utf-16", "\xff\xfea\x00\x3c\xd8\x21\xdf", "a🌡"},
	{"utf-16", "\x00a\x00b", "ab"},
	{"utf-16", "\xff\xfe", ""},
	{"utf-16", "\xff", "�"},
	{"utf-16le", "\xff\xfea\x00", "\ufeffa"},
	{"utf-16be", "\x00a\xdc\x00\x00b\xd8\x00\x00c\x00d\x00", "a�b�d�"}, // what follows half a pair is lost with it
	{"utf-16be", "\xd8\x00", "�"},
	{"utf-16be", "\xd8\x00\x00", "�"},
	{"utf-16be", "\xff\xfe\x00a", "�a"},
	{"utf-32", "\x00\x00\xfe\xff\x00\x01\xf3\x21\x00\x11\x00\x00\xff\xff\xff\xff\x00", "🌡���"},
	{"utf-32le", "a\x00\x00\x00\x00\xd8\x00\x00", "a�"},
}

// TestPieces decodes each text whole and in pieces of every size.
func TestPieces(t *testing.T) {
	for _, c := range texts {
		for size := 1; size <= len(c.bytes); size++ {
			d, ok := Named(c.name)
			if !ok {
				t.Fatal(c.name)
			}
			if got := pieces(t, &d, []byte(c.bytes), size); got != c.want {
				t.Errorf("%s %q in pieces of %d: %q, want %q", c.name, c.bytes, size, got, c.want)
			}
		}
	}
}

func pieces(t *testing.T, d *Decoder, text []byte, size int) string {
	var out, carry []byte
	for {
		n := min(size, len(text))
		carry = append(carry, text[:n]...)
		text = text[n:]
		before := len(out)
		var left int
		out, left = d.Append(out, carry, len(text) == 0)
		if left > 7 || left > len(carry) || len(out)-before > 3*len(carry) {
			t.Fatalf("%d bytes are left, %d came of %d", left, len(out)-before, len(carry))
		}
		carry = append(carry[:0], carry[len(carry)-left:]...)
		if len(text) == 0 {
			if left != 0 {
				t.Fatalf("%d bytes are left at the end", left)
			}
			return string(out)
		}
	}
}

func TestTables(t *testing.T) {
	for name, table := range tables {
		if n := utf8.RuneCountInString(table); n != 128 || !utf8.ValidString(table) {
			t.Errorf("%s has %d characters", name, n)
		}
		if normal(name) != name {
			t.Errorf("%s is not found: it is looked up as %s", name, normal(name))
		}
	}
}

// FuzzDecoder decodes any bytes whole and in pieces, and compares UTF-16 with package utf16.
func FuzzDecoder(f *testing.F) {
	for _, c := range texts {
		f.Add(c.name, []byte(c.bytes), 3)
	}
	f.Fuzz(func(t *testing.T, name string, text []byte, size int) {
		whole, ok := Named(name)
		if !ok {
			return
		}
		parts := whole
		got, left := whole.Append(nil, text, true)
		if left != 0 || !utf8.Valid(got) {
			t.Fatalf("%q, %d bytes are left", got, left)
		}
		if again := pieces(t, &parts, text, 1+size&7); again != string(got) {
			t.Fatalf("%q in pieces, %q whole", again, got)
		}
		if d, _ := Named("utf-16be"); len(text)%2 == 0 {
			units := make([]uint16, len(text)/2)
			for i := range units {
				units[i] = uint16(text[2*i])<<8 | uint16(text[2*i+1])
			}
			want := string(utf16.Decode(units))
			got, _ := d.Append(nil, text, true)
			if !strings.ContainsAny(want, "\ufffd\ufffe") && string(got) != want {
				t.Fatalf("%q, package utf16 says %q", got, want)
			}
		}
	})
}
