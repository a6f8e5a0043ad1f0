package device

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

// serverScope is the scope of provisionState (API.md 5).
const serverScope = "SERVER_SCOPE"

// provisionState is the attribute that marks a device that has its credentials (API.md 5).
const provisionState = "provisionState"

// The strategies of a profile for which a device gets its credentials here (API.md 5).
const (
	provisionCreates = "ALLOW_CREATE_NEW_DEVICES"
	provisionChecks  = "CHECK_PRE_PROVISIONED_DEVICES"
)

func provisionsHere(strategy string) bool {
	return strategy == provisionCreates || strategy == provisionChecks
}

// The answers of provisioning that are no success (API.md 5).
const (
	provisionNotFound = `{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}`
	provisionFailure  = `{"errorMsg":"Failed to provision device!","status":"FAILURE"}`
)

// provisionRequest is the request of a device that has no credentials.
type provisionRequest struct {
	DeviceName      json.RawMessage `json:"deviceName"`
	Key             *string         `json:"provisionDeviceKey"`
	Secret          *string         `json:"provisionDeviceSecret"`
	CredentialsType *string         `json:"credentialsType"`
	Token           string          `json:"token"`
	ClientID        string          `json:"clientId"`
	UserName        string          `json:"username"`
	Password        string          `json:"password"`
	Hash            string          `json:"hash"`
	Gateway         json.RawMessage `json:"gateway"`
}

var errProvision = errors.New(`"provisionDeviceKey" and "provisionDeviceSecret" are needed, ` +
	`and "credentialsType" must be ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE`)

// readProvision reads a request and checks it. Its errors hold nothing of the payload, which has
// secrets in it.
func readProvision(payload []byte) (r provisionRequest, err error) {
	if readObject(payload, &r) != nil {
		return r, errors.New("the request is no JSON object of that form")
	}
	return r, r.check()
}

// check returns errProvision if a member is missing or has an unknown value.
func (r *provisionRequest) check() error {
	if r.Key == nil || r.Secret == nil || string(r.DeviceName) == "null" {
		return errProvision
	}
	if r.CredentialsType != nil {
		switch *r.CredentialsType {
		case "ACCESS_TOKEN", "MQTT_BASIC", "X509_CERTIFICATE":
		default:
			return errProvision
		}
	}
	return nil
}

// Provisioned is the end of a provisioning request that is about a device: the one that it made or
// found, or, if it failed, the one that has its name or was provisioned before. Nothing of it is
// secret.
type Provisioned struct {
	Device               proto.UUID
	OK                   bool
	Key, CredentialsType string // as the device sent them
}

// tellProvisioned tells of the end of a request.
func (d *Doors) tellProvisioned(r *provisionRequest, id proto.UUID, ok bool) {
	if d.Ports.Provisioned == nil {
		return
	}
	p := &Provisioned{Device: id, OK: ok, Key: *r.Key}
	if r.CredentialsType != nil {
		p.CredentialsType = *r.CredentialsType
	}
	d.Ports.Provisioned(p)
}

// provisioned answers a device that asks for credentials from a network address (API.md 5). An
// error means that the device should ask again later; guess.ErrTooMany, that its secret was not
// looked at.
func (d *Doors) provisioned(ctx context.Context, remote string, r *provisionRequest) (answer []byte, err error) {
	secret := d.guesses.Secret("provision", *r.Key, *r.Secret)
	attempt, err := d.guesses.Begin(ctx, guess.Address(remote), secret)
	if err != nil {
		return nil, err
	}
	profile, ok := d.Lookups.Provision(*r.Key, *r.Secret)
	if !ok || !provisionsHere(profile.Provisioning) {
		attempt.Wrong()
		if !ok && !d.synced() {
			return nil, errNotSynced
		}
		return []byte(provisionNotFound), nil
	}
	attempt.Right(profile.ID)
	d.checking.Lock()
	defer d.checking.Unlock()
	name, _ := text(r.DeviceName)
	name = strings.TrimFunc(name, func(c rune) bool { return c <= ' ' })
	var id proto.UUID
	refuse := func() ([]byte, error) {
		if id != (proto.UUID{}) {
			d.tellProvisioned(r, id, false)
		}
		return []byte(provisionFailure), nil
	}
	switch profile.Provisioning {
	case provisionCreates:
		if name == "" {
			name = rand.Text()[:20]
		}
		if dev, taken := d.Lookups.ByName(name); taken || badName(name) != "" {
			id = dev.ID
			return refuse()
		}
		n := r.device(name, profile.Name)
		if n.CredentialsType == "ACCESS_TOKEN" {
			if _, taken := d.Lookups.ByToken(n.CredentialsID); taken {
				return refuse()
			}
		}
		if id, err = d.Creations.Create(ctx, n); errors.Is(err, agent.ErrNameTaken) || errors.Is(err, registry.ErrName) ||
			errors.Is(err, registry.ErrCredentials) {
			return refuse() // and so it would be at every further try
		} else if err != nil {
			return nil, err
		}
	case provisionChecks:
		dev, ok := d.Lookups.ByName(name)
		if !ok || dev.ProfileID != profile.ID {
			return refuse()
		}
		id = dev.ID
		used := false
		d.Lookups.Attributes(id, registry.ServerScope, []string{provisionState}, func(*proto.KV) { used = true })
		if used {
			return refuse()
		}
	}
	credentials, ok := d.Lookups.Credentials(id)
	if !ok {
		return nil, errors.New("the credentials of the device are not here yet")
	}
	if answer, err = provisionAnswer(credentials); err != nil {
		d.complain("a device is not given its credentials", name, err)
		return refuse()
	}
	state := []proto.KV{{Key: []byte(provisionState), Type: proto.KeyValueType_STRING_V, Str: []byte("provisioned")}}
	now := d.Clock.Stamp()
	event := proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionAttributesUpdated, Time: now, Entity: id,
		Fragment: proto.AppendAttributesUpdated(nil, id, proto.DeviceEntity, serverScope, now, state),
	}
	if err := d.Intake.Accept(ctx, []proto.Event{event}); err != nil {
		return nil, err
	}
	d.tellProvisioned(r, id, true)
	return answer, nil
}

// device returns the device that the request asks for. If its credentials are of a type but without
// a value, the device gets a generated access token.
func (r *provisionRequest) device(name, profile string) *agent.NewDevice {
	n := &agent.NewDevice{Name: name, Type: profile, CredentialsType: "ACCESS_TOKEN"}
	kind := ""
	if r.CredentialsType != nil {
		kind = *r.CredentialsType
	}
	gateway, _ := text(r.Gateway)
	n.IsGateway = gateway == "true"
	switch {
	case kind == "MQTT_BASIC" && (r.ClientID != "" || r.UserName != ""):
		value, _ := json.Marshal(basic{r.ClientID, r.UserName, r.Password})
		n.CredentialsType, n.CredentialsValue = kind, string(value)
	case kind == "X509_CERTIFICATE" && r.Hash != "":
		n.CredentialsType, n.CredentialsValue = kind, r.Hash
	case (kind == "" || kind == "ACCESS_TOKEN") && r.Token != "":
		n.CredentialsID = r.Token
	}
	return n
}

// basic is the value of MQTT_BASIC credentials.
type basic struct {
	ClientID string `json:"clientId"`
	UserName string `json:"userName"`
	Password string `json:"password"`
}

// provisionAnswer is the answer with the credentials of a device, which come as ThingsBoard's JSON.
func provisionAnswer(credentials []byte) ([]byte, error) {
	var c struct {
		Type  string `json:"credentialsType"`
		ID    string `json:"credentialsId"`
		Value string `json:"credentialsValue"`
	}
	if err := json.Unmarshal(credentials, &c); err != nil {
		// The text, which is secret, must not get into an error.
		return nil, errors.New("the credentials of the device cannot be read")
	}
	b := []byte(`{"credentialsValue":`)
	switch c.Type {
	case "ACCESS_TOKEN":
		b = proto.AppendJSONString(b, c.ID)
	case "MQTT_BASIC":
		var v basic
		if err := json.Unmarshal([]byte(c.Value), &v); err != nil {
			return nil, errors.New("the credentials of the device cannot be read")
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("provisioning: %w", err)
		}
		b = append(b, value...)
	default:
		b = proto.AppendJSONString(b, c.Value)
	}
	b = append(b, `,"credentialsType":`...)
	b = proto.AppendJSONString(b, c.Type)
	return append(b, `,"status":"SUCCESS"}`...), nil
}
