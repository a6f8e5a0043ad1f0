package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

func TestLogin(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name, word string
		status     int
	}{
		{root, password, 200},
		{"ADMIN@X", password, 200},
		{ours, password, 200},
		{root, "wrong", 401},
		{root, "", 401},
		{"nobody@x", password, 401},
		{"", password, 401},
	} {
		if a := r.login(c.name, c.word); a.status != c.status {
			t.Errorf("%s %s: %d %s", c.name, c.word, a.status, a.body)
		}
	}
	a := r.login(root, "wrong")
	r.has("answer", a.body, `{"status":401,"message":"Invalid username or password","errorCode":10}`)
	a = r.login(root, password)
	var t1 struct{ Token, RefreshToken string }
	if err := json.Unmarshal([]byte(a.body), &t1); err != nil {
		t.Fatal(err)
	}
	ask := func(header, value string) answer {
		q, _ := http.NewRequest("GET", "/api/auth/user", nil)
		q.Header.Set(header, value)
		return r.do(q)
	}
	for _, header := range []string{"X-Authorization", "Authorization"} {
		r.has("user", ask(header, "Bearer "+t1.Token).body, `{"email":"admin@x","authority":"TENANT_ADMIN"}`)
	}
	for _, bad := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Basic " + t1.Token,
		"Bearer " + t1.RefreshToken, "Bearer " + t1.Token[1:],
	} {
		if a := ask("X-Authorization", bad); a.status != 401 {
			t.Errorf("%q: %d", bad, a.status)
		}
	}
	// ThingsBoard's clients read from the token when it ends.
	for token, life := range map[string]time.Duration{t1.Token: 9000 * time.Second, t1.RefreshToken: 7 * 24 * time.Hour} {
		parts := strings.Split(token, ".")
		var claims struct{ Iat, Exp int64 }
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); len(parts) != 3 || err != nil || json.Unmarshal(b, &claims) != nil ||
			claims.Exp-claims.Iat != int64(life.Seconds()) {
			t.Errorf("the token says %+v", claims)
		}
		forged := strings.Join([]string{parts[0], parts[1], "AAAA"}, ".")
		if a := ask("Authorization", "Bearer "+forged); a.status != 401 {
			t.Errorf("a forged token: %d", a.status)
		}
	}
	// A refresh token counts once.
	again := r.send("", "POST", "/api/auth/token", `{"refreshToken":"`+t1.RefreshToken+`"}`)
	var t2 struct{ Token, RefreshToken string }
	if again.status != 200 || json.Unmarshal([]byte(again.body), &t2) != nil || t2.Token == "" || t2.Token == t1.Token {
		t.Errorf("refresh: %d %s", again.status, again.body)
	}
	if a := r.send("", "POST", "/api/auth/token", `{"refreshToken":"`+t1.RefreshToken+`"}`); a.status != 401 {
		t.Errorf("the second time: %d", a.status)
	}
	if a := ask("Authorization", "Bearer "+t1.Token); a.status != 401 {
		t.Errorf("the old token: %d", a.status)
	}
	q, _ := http.NewRequest("POST", "/api/auth/logout", nil)
	q.Header.Set("Authorization", "Bearer "+t2.Token)
	if a := r.do(q); a.status != 200 {
		t.Errorf("logout: %d", a.status)
	}
	if a := ask("Authorization", "Bearer "+t2.Token); a.status != 401 {
		t.Errorf("after the logout: %d", a.status)
	}
	if len(r.events()) > 0 {
		t.Error("a login is an event")
	}
}

// Whoever may not act in the cloud any more may not act here.
func TestSessionsEndWithTheirUser(t *testing.T) {
	for name, m := range map[string]*proto.DownlinkMsg{
		"deleted": {UserUpdateMsg: []*proto.UserUpdateMsg{{
			IdMSB: msb(user), IdLSB: lsb(user),
			MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
		}}},
		"moved":        {UserUpdateMsg: []*proto.UserUpdateMsg{userDown(user, ours, "CUSTOMER_USER", otherCustomer)}},
		"new password": {UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{credentialsDown(user, "$2a$04$other")}},
		"disabled": {UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{{Entity: `{"userId":` +
			ref("USER", user) + `,"enabled":false,"password":null}`}}},
		"customer gone": {CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{
			IdMSB: msb(customer), IdLSB: lsb(customer), MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if a := r.send(ours, "GET", "/api/auth/user", ""); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			r.apply(m)
			for range 2 {
				if a := r.send(ours, "GET", "/api/auth/user", ""); a.status != 401 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if name == "deleted" || name == "disabled" { // the others cost as long a time
				if a := r.login(ours, password); a.status != 401 {
					t.Errorf("login: %d", a.status)
				}
			}
			if a := r.send(root, "GET", "/api/auth/user", ""); a.status != 200 {
				t.Errorf("another: %d", a.status)
			}
		})
	}
}

func TestSessionsAndAttemptsAreBounded(t *testing.T) {
	r := newRig(t)
	other, first := r.token(root), r.token(ours)
	for range 64 {
		if a := r.login(ours, password); a.status != 200 {
			t.Fatal(a)
		}
	}
	for token, want := range map[string]int{first: 401, other: 200} {
		q, _ := http.NewRequest("GET", "/api/auth/user", nil)
		q.Header.Set("Authorization", "Bearer "+token)
		if a := r.do(q); a.status != want {
			t.Errorf("the oldest session of the user, or another's: %d, want %d", a.status, want)
		}
	}
	codes := map[int]int{}
	for range 15 {
		codes[r.login(root, "wrong").status]++
	}
	if codes[401] != 10 || codes[429] != 5 {
		t.Errorf("answers %v", codes)
	}
	if a := r.login(root, password); a.status != 429 {
		t.Errorf("the right one from that address: %d", a.status)
	}
}
