package proto

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const mask = "***"

// secretParts mark a secret: a member whose name, in lower case, contains one of them is not shown
// to a person who looks at an event.
var secretParts = []string{
	"password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "api_key", "privatekey",
	"private_key", "accesskey", "access_key", "accountkey", "account_key", "provisiondevicekey", "routingkey", "community", "authorization",
}

// harmless are the names of the members that are shown in a message about credentials.
var harmless = map[string]bool{
	"id": true, "deviceid": true, "userid": true, "tenantid": true, "customerid": true, "entitytype": true, "credentialstype": true,
	"createdtime": true, "expirationtime": true, "lastlogints": true, "enabled": true, "version": true,
}

func (w *writer) hides(name string) bool {
	name = strings.ToLower(name)
	if w.all {
		return !harmless[name]
	}
	if name == "credentialstype" {
		return false
	}
	for _, p := range secretParts {
		if strings.Contains(name, p) {
			return true
		}
	}
	return false
}

// masked writes the JSON text s anew: compact, with the keys in their order and the secrets
// replaced. It returns false if s is no JSON or is nested too deeply; the caller then throws away
// what was written. masked does not recurse and keeps only the nesting.
func (w *writer) masked(s string) bool {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	type level struct {
		object, value bool // value: the next token is the value of key
		hidden        bool // the content is secret
		key           string
	}
	stack := append(make([]level, 0, 8), level{hidden: w.all})
	for done := false; !done; {
		t, err := d.Token()
		if err != nil {
			return false
		}
		top := &stack[len(stack)-1]
		if c, ok := t.(json.Delim); ok && (c == '}' || c == ']') {
			w.buf = append(w.buf, byte(c))
			stack = stack[:len(stack)-1]
			top = &stack[len(stack)-1]
			top.value = false
			done = len(stack) == 1
			continue
		}
		if top.object && !top.value {
			top.key, _ = t.(string)
			top.value = true
			w.key(top.key)
			continue
		}
		if !top.object && len(stack) > 1 {
			w.comma()
		}
		hidden := top.hidden || top.object && w.hides(top.key)
		if w.all { // the content of a harmless member is harmless, for example the id inside deviceId
			hidden = top.hidden && w.hides(top.key)
		}
		switch v := t.(type) {
		case json.Delim:
			if len(stack) > maxDepth {
				return false
			}
			w.buf = append(w.buf, byte(v))
			stack = append(stack, level{object: v == '{', hidden: hidden})
			continue
		case bool:
			w.buf = strconv.AppendBool(w.buf, v)
		case nil:
			w.buf = append(w.buf, "null"...)
		case json.Number:
			if hidden {
				w.text(mask)
			} else {
				w.buf = append(w.buf, v...)
			}
		case string:
			if hidden && v != "" {
				v = mask
			}
			w.text(v)
		}
		top.value = false
		done = len(stack) == 1
	}
	_, err := d.Token()
	return err == io.EOF
}

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD; control
// characters are escaped.
func AppendJSONString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
