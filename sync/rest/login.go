package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

// Bounds of logins. Package guess bounds the wrong ones of an address.
const (
	maxChecks   = 64               // passwords that wait to be checked
	ofAddress   = 2                // of them, from one address
	checkLimit  = 30 * time.Second // for which one waits
	maxCost     = 14               // of a bcrypt hash, which doubles the work with each step
	retryChecks = "60"             // seconds, for a login that was not checked
)

// nobody is the hash that a password is compared with when there is no such user, so that the time
// of the answer does not show that.
const nobody = "$2a$10$" + "7EqJtq98hPqEX7fNZaFWoOhi1C0UYy7XhP4g2wSx3vXbQ9y1mR7aG"

type tokens struct {
	Token   string `json:"token"`
	Refresh string `json:"refreshToken"`
}

func (c *call) login() (any, error) {
	if c.Secure != nil && Overheard(c.r, c.Secure(c.r)) {
		return nil, errOverheard
	}
	var in struct{ Username, Password string }
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil || in.Username == "" || in.Password == "" {
		return nil, &failure{http.StatusUnauthorized, codeAuth, "Authentication method not supported: expected username and password"}
	}
	from := guess.Address(c.r.RemoteAddr)
	tooMany := &failure{http.StatusTooManyRequests, codeTooMany, "Too many attempts; try again later"}
	name := c.sessions.guesses.Secret("user", strings.ToLower(in.Username))
	attempt, err := c.sessions.guesses.BeginAs(from, name)
	if err != nil {
		c.w.Header().Set("Retry-After", retryChecks)
		return nil, tooMany
	}
	// Who was here lately goes first, then addresses without wrong passwords.
	rank := attempt.Debt + 1
	if attempt.Known {
		rank = 0
	}
	if !c.sessions.checks.enter(c.r.Context(), from, rank) {
		attempt.Release()
		c.w.Header().Set("Retry-After", retryAfter)
		return nil, tooMany
	}
	u, ok := c.Registry.UserNamed(in.Username)
	ok = check(&u, in.Password) && ok
	c.sessions.checks.leave()
	if !ok {
		attempt.Wrong()
		return nil, &failure{http.StatusUnauthorized, codeAuth, wordsBadLogin}
	}
	attempt.Right(u.ID)
	t, r := c.sessions.begin(&u, time.Now())
	return tokens{t, r}, nil
}

// check compares a password with a user's hash.
func check(u *registry.User, password string) bool {
	hash := []byte(u.Hash)
	cost, err := bcrypt.Cost(hash)
	known := err == nil && cost <= maxCost
	if !known {
		hash = []byte(nobody)
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && known
}

// refresh gives a new pair of tokens for a refresh token.
func (c *call) refresh() (any, error) {
	var in struct {
		Refresh string `json:"refreshToken"`
	}
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil || in.Refresh == "" {
		return nil, bad("expected a refreshToken")
	}
	o, _ := c.sessions.find(in.Refresh, true, c.now)
	u, err := c.userOf(o)
	if err != nil {
		return nil, err
	}
	c.sessions.end(o)
	t, r := c.sessions.begin(&u, c.now)
	return tokens{t, r}, nil
}

func (c *call) logout() (any, error) {
	if o, _ := c.sessions.find(bearer(c.r), false, c.now); o != nil {
		c.sessions.end(o)
	}
	return nil, nil
}

func (c *call) whoami() (any, error) { return json.RawMessage(c.user.Text), nil }
