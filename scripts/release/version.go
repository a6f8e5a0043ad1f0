package main

import (
	"fmt"
	"regexp"
	"strings"
)

// version is one release as people say it and as each kind of package must write it.
type version struct {
	people string // 0.9.0, 1.0.0-rc1, 0.9.0+git3: what `edgesync version` prints
	dpkg   string // for deb and ipk: 0.9.0, 1.0.0~rc1, 0.9.0+git3; "~" sorts before nothing at all
	apk    string // 0.9.0, 1.0.0_rc1, 0.9.0_git3: apk takes no other words
	tagged bool   // the commit bears the tag
}

// described is what `git describe --tags` prints: the tag, and how many commits were made since.
var described = regexp.MustCompile(`^v([0-9]+\.[0-9]+\.[0-9]+)(?:-(alpha|beta|rc)([0-9]+))?(?:-([0-9]+)-g[0-9a-f]+)?$`)

// parseVersion reads the output of `git describe --tags`.
func parseVersion(describe string) (version, error) {
	if strings.HasSuffix(describe, "-dirty") {
		return version{}, fmt.Errorf("version %s: the working tree has changes that are in no commit, and no package could name them; "+
			"commit first", describe)
	}
	m := described.FindStringSubmatch(describe)
	if m == nil {
		return version{}, fmt.Errorf("version %q: a tag must read v1.2.3 or v1.2.3-rc1 (alpha, beta, rc)", describe)
	}
	number, word, n, commits := m[1], m[2], m[3], m[4]
	v := version{people: number, dpkg: number, apk: number, tagged: commits == ""}
	if word != "" {
		v.people += "-" + word + n
		v.dpkg += "~" + word + n
		v.apk += "_" + word + n
	}
	if commits != "" {
		v.people += "+git" + commits
		v.dpkg += "+git" + commits
		v.apk += "_git" + commits
	}
	return v, nil
}
