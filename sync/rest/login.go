package rest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/sync/registry"
)

// Bounds of logins.
const (
	maxChecks      = 8  // passwords that wait to be checked
	maxCost        = 14 // of a bcrypt hash, which doubles the work with each step
	wrongBurst     = 10 // wrong passwords at once, for each address
	wrongEvery     = 6 * time.Second
	wrongAddresses = 1024 // remembered at a time
)

// nobody is the hash that a password is compared with when there is no such user, so that the time
// of the answer does not show that.
const nobody = "$2a$10$" + "7EqJtq98hPqEX7fNZaFWoOhi1C0UYy7XhP4g2wSx3vXbQ9y1mR7aG"

// attempts counts wrong passwords by address.
type attempts struct {
	mu   sync.Mutex
	full map[string]time.Time // when the address has its whole burst again
}

// allowed reports whether an address may try now.
func (a *attempts) allowed(from string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.full[a.countedAs(from, now)].Sub(now) <= (wrongBurst-1)*wrongEvery
}

// wrong counts a wrong password.
func (a *attempts) wrong(from string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from = a.countedAs(from, now)
	t := a.full[from]
	if t.Before(now) {
		t = now
	}
	a.full[from] = t.Add(wrongEvery)
}

// countedAs is the address under which attempts from an address are counted: itself, or, when there
// are too many, "", which the rest share.
func (a *attempts) countedAs(from string, now time.Time) string {
	if _, known := a.full[from]; known || len(a.full) < wrongAddresses {
		return from
	}
	for k, t := range a.full {
		if !t.After(now) {
			delete(a.full, k)
		}
	}
	if len(a.full) < wrongAddresses {
		return from
	}
	return ""
}

// address is what attempts are counted by: an IPv4 address, or the first 64 bits of an IPv6
// address, whose other 64 bits a host chooses itself.
func address(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p.String()
}

type tokens struct {
	Token   string `json:"token"`
	Refresh string `json:"refreshToken"`
}

func (c *call) login() (any, error) {
	var in struct{ Username, Password string }
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil || in.Username == "" || in.Password == "" {
		return nil, &failure{http.StatusUnauthorized, codeAuth, "Authentication method not supported: expected username and password"}
	}
	from := address(c.r.RemoteAddr)
	tooMany := &failure{http.StatusTooManyRequests, codeTooMany, "Too many attempts; try again later"}
	if !c.sessions.attempts.allowed(from, c.now) {
		return nil, tooMany
	}
	select {
	case c.sessions.waiting <- struct{}{}:
		defer func() { <-c.sessions.waiting }()
	default:
		return nil, tooMany
	}
	c.sessions.checking <- struct{}{} // few wait in front, and each check takes a bounded time
	u, ok := c.Registry.UserNamed(in.Username)
	ok = check(&u, in.Password) && ok
	<-c.sessions.checking
	if !ok {
		c.sessions.attempts.wrong(from, c.now)
		return nil, &failure{http.StatusUnauthorized, codeAuth, wordsBadLogin}
	}
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
