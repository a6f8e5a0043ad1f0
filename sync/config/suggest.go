package config

import (
	"strconv"
	"strings"
)

// suggestEnv is the tail of a message about an unknown variable.
func suggestEnv(name string) string {
	path := strings.ToLower(strings.TrimPrefix(name, envPrefix))
	if k := keyOf(nearest(path, paths())); k != nil {
		return "; did you mean " + k.env() + "?"
	}
	for i := range keys {
		for _, s := range keys[i].spelled {
			if plain(path) == plain(s) {
				return "; did you mean " + keys[i].env() + "?"
			}
		}
	}
	return "; `edgesync help run` lists all"
}

// suggest is the tail of a message about an unknown name.
func suggest(path string, known []string) string {
	for i := range keys {
		for _, s := range keys[i].spelled {
			if path == s {
				return "; did you mean " + strconv.Quote(keys[i].path) + "?"
			}
		}
	}
	if n := nearest(path, known); n != "" {
		return "; did you mean " + strconv.Quote(n) + "?"
	}
	return "; `edgesync help run` lists all"
}

func paths() []string {
	p := make([]string, len(keys))
	for i := range keys {
		p[i] = keys[i].path
	}
	return p
}

func knownNames(sections bool) []string {
	if !sections {
		return paths()
	}
	var s []string
	for _, p := range paths() {
		for i, r := range p {
			if r == '.' && (len(s) == 0 || s[len(s)-1] != p[:i]) {
				s = append(s, p[:i])
			}
		}
	}
	return s
}

func isSection(path string) bool {
	for i := range keys {
		if strings.HasPrefix(keys[i].path, path+".") {
			return true
		}
	}
	return false
}

// SuggestFlag is the flag that a person most likely meant, with its dashes; "" when none is near.
func SuggestFlag(name string, others ...string) string {
	if n := nearest(strings.TrimLeft(name, "-"), append(others, paths()...)); n != "" {
		return "--" + n
	}
	return ""
}

// nearest is the candidate that a person most likely meant; "" when none is near.
func nearest(name string, candidates []string) string {
	best, least := "", max(min(2, len(name)/2), len(name)/3)+1
	name = plain(name)
	for _, c := range candidates {
		p := plain(c)
		d := distance(name, p)
		// A known name that lacks words, such as its section, or has one more before it.
		if len(name) >= 3 && (lacksWords(name, p) || strings.HasSuffix(name, "."+p)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// lacksWords reports whether a name without some of its words is short. The last word is there.
func lacksWords(short, name string) bool {
	words := strings.Split(short, ".")
	last := len(words) - 1
	if name != words[last] && !strings.HasSuffix(name, "."+words[last]) {
		return false
	}
	for w := range strings.SplitSeq(name, ".") {
		if len(words) > 0 && w == words[0] {
			words = words[1:]
		}
	}
	return len(words) == 0
}

func plain(s string) string {
	return strings.NewReplacer("_", ".", "-", ".").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that make one
// short name of the other.
func distance(a, b string) int {
	const limit = 80
	if len(a) > limit || len(b) > limit {
		return limit
	}
	var rows [3][limit + 1]int
	before, above, row := &rows[0], &rows[1], &rows[2]
	for j := range b {
		above[j+1] = j + 1
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
