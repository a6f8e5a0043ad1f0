package charset

import "unicode/utf8"

// UTF8 appends text that should be UTF-8, and makes it so.
func UTF8(dst, text []byte) []byte {
	dst, _ = appendUTF8(dst, text, true)
	return dst
}

// appendUTF8 is Append for UTF-8: each malformed sequence becomes one U+FFFD, cut as the server's
// decoder cuts them (API.md 2).
func appendUTF8(dst, src []byte, last bool) (out []byte, left int) {
	for {
		good := Valid(src)
		dst, src = append(dst, src[:good]...), src[good:]
		if len(src) == 0 {
			return dst, 0
		}
		n, cut := malformed(src)
		if cut && !last {
			return dst, len(src)
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
		src = src[n:]
	}
}

// Valid returns how many bytes at the beginning of b are valid UTF-8.
func Valid(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// malformed returns the length of the malformed sequence at the beginning of b. cut says that b
// ends where the sequence could still become a character.
func malformed(b []byte) (n int, cut bool) {
	size, low, high := 1, byte(0x80), byte(0xBF) // of the character; bounds of its second byte
	switch c := b[0]; {
	case 0xC2 <= c && c <= 0xDF:
		size = 2
	case 0xE0 <= c && c <= 0xEF: // a surrogate is one malformed sequence of three bytes
		if size = 3; c == 0xE0 {
			low = 0xA0
		}
	case 0xF0 <= c && c <= 0xF4:
		if size = 4; c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	}
	for n = 1; n < size; n++ {
		if n == len(b) {
			return n, true
		}
		if b[n] < low || b[n] > high {
			return n, false
		}
		low, high = 0x80, 0xBF
	}
	return n, false
}
