package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"edgesync/sync/device/foreign"
)

// maxText bounds a value in bytes: paths, names and keys are shorter.
const maxText = 4096

// set parses v, a value as TOML has it (string, int64, float64, bool, []any, []map[string]any) or
// the text of a variable or flag, and stores it in c. The error says what is allowed; the caller
// adds key, value and source.
func (k *key) set(c *Config, v any) error {
	switch f := k.field(c).(type) {
	case *string:
		s, ok := v.(string)
		if !ok {
			return errors.New("must be text in double quotes")
		}
		if err := k.checkText(s); err != nil {
			return err
		}
		*f = s
	case *bool:
		b, err := parseBool(v)
		if err != nil {
			return err
		}
		*f = b
	case *int:
		n, err := parseInt(v)
		if err != nil || n < k.min || n > k.max {
			return fmt.Errorf("must be a whole number from %d to %d", k.min, k.max)
		}
		*f = int(n)
	case *int64:
		if k.auto && v == "auto" {
			*f = 0
			return nil
		}
		n, err := parseSize(v)
		if err == nil && (n < k.min || n > k.max) {
			err = errors.New("is out of bounds")
		}
		if err != nil {
			word := ""
			if k.auto {
				word = `, or "auto"`
			}
			return fmt.Errorf("%w: must be from %s to %s, as a number of bytes or with a unit, such as \"64MiB\"%s",
				err, formatSize(k.min), formatSize(k.max), word)
		}
		*f = n
	case *time.Duration:
		d, err := parseDuration(v, k.unit)
		if err == nil && (int64(d) < k.min || int64(d) > k.max) {
			err = errors.New("is out of bounds")
		}
		if err != nil {
			return fmt.Errorf("%w: must be from %s to %s; a plain number means %s",
				err, formatDuration(time.Duration(k.min)), formatDuration(time.Duration(k.max)), unitNames[k.unit])
		}
		*f = d
	case *[]string:
		l, err := parseList(v)
		if err != nil {
			return err
		}
		for _, s := range l {
			if err := k.checkText(s); err != nil {
				return err
			}
		}
		*f = l
	case *[]foreign.Map:
		l, err := parseMaps(v)
		if err != nil {
			return err
		}
		*f = l
	}
	return nil
}

// get is the value that c has for the key, as a person would write it. It shows secrets.
func (k *key) get(c *Config) string {
	switch f := k.field(c).(type) {
	case *string:
		return *f
	case *bool:
		return strconv.FormatBool(*f)
	case *int:
		return strconv.Itoa(*f)
	case *int64:
		if k.auto && *f == 0 {
			return "auto"
		}
		return formatSize(*f)
	case *time.Duration:
		return formatDuration(*f)
	case *[]string:
		return strings.Join(*f, ",")
	case *[]foreign.Map:
		return formatMaps(*f)
	}
	return ""
}

func (k *key) checkText(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("must be at most %d bytes long", maxText)
	}
	if !utf8.ValidString(s) {
		return errors.New("must be UTF-8")
	}
	if k.path == "cloud.routing_key" || k.path == "cloud.routing_secret" {
		s = strings.TrimSpace(s) // load takes away what surrounds them
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return errors.New("must not contain line breaks or other control characters")
		}
	}
	if len(k.choices) > 0 {
		for _, c := range k.choices {
			if s == c {
				return nil
			}
		}
		return fmt.Errorf("must be one of: %s", strings.Join(k.choices, ", "))
	}
	if k.check != nil {
		return k.check(s)
	}
	return nil
}

func parseBool(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		}
	}
	return false, errors.New("must be true or false")
}

func parseInt(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		return strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	}
	return 0, errors.New("is not a whole number")
}

// parseList reads a TOML array of texts, or texts with commas between them.
func parseList(v any) ([]string, error) {
	var l []string
	switch v := v.(type) {
	case string:
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				l = append(l, s)
			}
		}
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errors.New(`must be a list of texts, such as ["a", "b"]`)
			}
			l = append(l, s)
		}
	default:
		return nil, errors.New(`must be a list of texts, such as ["a", "b"]`)
	}
	return l, nil
}

var unitNames = map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds"}

var errNotDuration = errors.New(`is not a time such as "3s", "500ms", "1h30m" or "7d"`)

// parseDuration reads "3s", "1h30m", "7d", or a plain number, which counts unit.
func parseDuration(v any, unit time.Duration) (time.Duration, error) {
	var s string
	switch v := v.(type) {
	case int64:
		s = strconv.FormatInt(v, 10)
	case float64:
		return scale(v, float64(unit), errNotDuration)
	case string:
		s = strings.TrimSpace(v)
	default:
		return 0, errNotDuration
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		s, unit = days, 24*time.Hour
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n <= math.MaxInt64/int64(unit) && n >= math.MinInt64/int64(unit) {
		return time.Duration(n) * unit, nil
	}
	if isNumber(s) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, errNotDuration
		}
		return scale(f, float64(unit), errNotDuration)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errNotDuration
	}
	return d, nil
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"tib", tib},
	{"gib", 1 << 30},
	{"mib", mib},
	{"kib", kib},
	{"tb", 1e12},
	{"gb", 1e9},
	{"mb", 1e6},
	{"kb", 1e3},
	{"b", 1},
}

var errNotSize = errors.New(`is not a size such as "512KiB", "64MiB", "1GiB" or "10MB"`)

// parseSize reads a number of bytes, or a number with one of the sizeUnits.
func parseSize(v any) (int64, error) {
	var s string
	switch v := v.(type) {
	case int64:
		return v, nil
	case float64:
		n, err := scale(v, 1, errNotSize)
		return int64(n), err
	case string:
		s = strings.ToLower(strings.TrimSpace(v))
	default:
		return 0, errNotSize
	}
	unit := int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n <= math.MaxInt64/unit && n >= math.MinInt64/unit {
		return n * unit, nil
	}
	if !isNumber(s) {
		return 0, errNotSize
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errNotSize
	}
	n, err := scale(f, float64(unit), errNotSize)
	return int64(n), err
}

// isNumber reports whether s is a plain decimal. ParseFloat takes hexadecimals, "inf" and
// underscores too.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789.-+") == "" }

// scale multiplies, and returns bad where the product does not fit.
func scale(f, unit float64, bad error) (time.Duration, error) {
	f = math.Round(f * unit)
	if math.IsNaN(f) || math.Abs(f) >= math.MaxInt64 {
		return 0, bad
	}
	return time.Duration(f), nil
}

func formatSize(n int64) string {
	for _, u := range sizeUnits[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + strings.ToUpper(u.name[:1]) + "iB"
		}
	}
	return strconv.FormatInt(n, 10)
}

func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	if day := 24 * time.Hour; d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
