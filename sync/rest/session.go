package rest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

// Bounds of sessions. The times are ThingsBoard's defaults.
const (
	maxSessions = 64 // the one that was used least lately gives way
	ofUser      = 16 // of them, of one user: nobody pushes others out by logging in
	tokenLife   = 9000 * time.Second
	refreshLife = 7 * 24 * time.Hour
)

type digest = [sha256.Size]byte

// session is somebody who is logged in. Tokens are known by their digests only.
type session struct {
	user             proto.UUID
	password         digest // of the password's hash at login: another one ends the session
	token, refresh   digest
	expires, renewal time.Time // until when the two tokens count
	used             time.Time
}

// sessions holds who is logged in, in memory: a restart ends all of them.
type sessions struct {
	mu      sync.Mutex
	byToken map[digest]*session
	byRenew map[digest]*session
	guesses *guess.Limiter
	checks  checks
}

func newSessions() *sessions {
	return &sessions{
		byToken: make(map[digest]*session), byRenew: make(map[digest]*session), guesses: guess.NewStrict(),
	}
}

// begin makes a session and returns its tokens.
func (s *sessions) begin(u *registry.User, now time.Time) (token, refresh string) {
	token, refresh = newToken(u, now, tokenLife), newToken(u, now, refreshLife)
	n := &session{
		user: u.ID, password: sha256.Sum256([]byte(u.Hash)), token: sha256.Sum256([]byte(token)), refresh: sha256.Sum256([]byte(refresh)),
		expires: now.Add(tokenLife), renewal: now.Add(refreshLife), used: now,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest, own *session
	of := 0
	for _, o := range s.byRenew {
		if oldest == nil || o.used.Before(oldest.used) {
			oldest = o
		}
		if o.user != u.ID {
			continue
		}
		if of++; own == nil || o.used.Before(own.used) {
			own = o
		}
	}
	switch {
	case of >= ofUser:
		s.drop(own)
	case len(s.byRenew) >= maxSessions:
		s.drop(oldest)
	}
	s.byToken[n.token], s.byRenew[n.refresh] = n, n
	return token, refresh
}

// drop ends a session. The caller holds mu.
func (s *sessions) drop(o *session) {
	delete(s.byToken, o.token)
	delete(s.byRenew, o.refresh)
}

func (s *sessions) end(o *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(o)
}

// find looks a token up; nil if there is no such session.
func (s *sessions) find(token string, renew bool, now time.Time) (o *session, expired bool) {
	d := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	if renew {
		if o = s.byRenew[d]; o != nil && !o.renewal.After(now) {
			s.drop(o)
			return nil, true
		}
	} else if o = s.byToken[d]; o != nil && !o.expires.After(now) {
		return nil, true // it may be renewed
	}
	if o != nil {
		o.used = now
	}
	return o, false
}

// session finds who sends a request.
func (h *Handler) session(r *http.Request, now time.Time) (registry.User, error) {
	o, expired := h.sessions.find(bearer(r), false, now)
	if expired {
		return registry.User{}, &failure{http.StatusUnauthorized, codeExpired, wordsExpired}
	}
	return h.userOf(o)
}

// userOf is the user of a session while the user may act here and has the password of the login.
func (h *Handler) userOf(o *session) (registry.User, error) {
	none := &failure{http.StatusUnauthorized, codeAuth, wordsNoSession}
	if o == nil {
		return registry.User{}, none
	}
	u, ok := h.Registry.User(o.user)
	if !ok || u.Hash == "" || sha256.Sum256([]byte(u.Hash)) != o.password {
		h.sessions.end(o)
		return registry.User{}, none
	}
	return u, nil
}

// bearer is the token of a request; "" if there is none.
func bearer(r *http.Request) string {
	for _, name := range []string{"X-Authorization", "Authorization"} {
		if v := r.Header.Get(name); len(v) > 7 && len(v) < 2048 && strings.EqualFold(v[:7], "Bearer ") {
			return v[7:]
		}
	}
	return ""
}

// newToken makes a token in the form of a JWT, because ThingsBoard's own clients look into theirs
// to learn when it ends. To the edge the token is opaque: it is looked up as a whole, its claims
// are never read, and 260 random bits stand where the signature belongs.
func newToken(u *registry.User, now time.Time, life time.Duration) string {
	claims, _ := json.Marshal(map[string]any{ // of plain values
		"iss": "edgesync", "iat": now.Unix(), "exp": now.Add(life).Unix(), "userId": proto.FormatUUID(u.ID),
		"scopes": []string{u.Authority}, "enabled": true,
	})
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"HS512"}`)) + "." + enc.EncodeToString(claims) + "." +
		enc.EncodeToString([]byte(rand.Text()+rand.Text()))
}
