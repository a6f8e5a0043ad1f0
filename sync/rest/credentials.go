package rest

import (
	"encoding/json"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// credentialsBody is DeviceCredentials of ThingsBoard.
type credentialsBody struct {
	Device *reference `json:"deviceId"`
	Type   string     `json:"credentialsType"`
	ID     *string    `json:"credentialsId"`
	Value  *string    `json:"credentialsValue"`
}

// check finds what the server would refuse for good.
func (b *credentialsBody) check() (id, value string, err error) {
	if b.ID != nil {
		id = *b.ID
	}
	if b.Value != nil {
		value = *b.Value
	}
	switch b.Type {
	case "ACCESS_TOKEN":
		if id == "" {
			return id, value, bad("Device credentials id should be specified!")
		}
	case "MQTT_BASIC", "X509_CERTIFICATE":
	default:
		return id, value, bad("Device credentials type must be ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE at the edge")
	}
	if why := badText(id); why != "" && b.Type == "ACCESS_TOKEN" {
		return id, value, bad("Validation error: credentialsId " + why)
	}
	return id, value, nil
}

// credentials is GET of a device's credentials, secrets included.
func (c *call) credentials() (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	if _, err := c.read1(deviceDef, id); err != nil {
		return nil, err
	}
	text, ok := c.Registry.Credentials(id)
	if !ok {
		return nil, errNotFound
	}
	d, ok := decodeDocument(text)
	if !ok {
		return nil, errNotFound
	}
	return d.identified(id), nil
}

// identified is what is shown of credentials. Those made here have no id of their own until the
// server gives them one, and clients expect one.
func (d document) identified(device proto.UUID) json.RawMessage {
	if isNull(d["id"]) {
		d["id"] = json.RawMessage(`{"id":"` + proto.FormatUUID(device) + `"}`)
	}
	if isNull(d["createdTime"]) {
		d["createdTime"] = json.RawMessage("0")
	}
	return d.encode()
}

// saveCredentials is POST of credentials, which replace those of their device.
func (c *call) saveCredentials() (any, error) {
	var in credentialsBody
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil {
		return nil, bad("the body must be device credentials as a JSON object")
	}
	if in.Device == nil {
		return nil, bad("Device id should be specified!")
	}
	id, ok := proto.ParseUUID(in.Device.ID)
	if !ok {
		return nil, bad("Device credentials field deviceId is malformed")
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	if _, err := c.read1(deviceDef, id); err != nil {
		return nil, err
	}
	credID, value, err := in.check()
	if err != nil {
		return nil, err
	}
	text, holder, err := c.Registry.CredentialsJSON(id, in.Type, credID, value)
	switch {
	case err != nil:
		return nil, bad("Device credentials value is malformed")
	case holder != (proto.UUID{}):
		return nil, bad("Device credentials are already assigned to another device!")
	}
	out, _ := decodeDocument([]byte(text))
	if old, ok := c.Registry.Credentials(id); ok { // keep the id and the time of what is replaced
		if was, ok := decodeDocument(old); ok {
			for _, f := range []string{"id", "createdTime"} {
				if !isNull(was[f]) {
					out[f] = was[f]
				}
			}
		}
	}
	out["version"] = json.RawMessage("null")
	text = string(out.encode())
	e := c.event(proto.KindDeviceCredentials, proto.ActionCredentialsUpdated, id,
		proto.AppendUpdate(nil, proto.KindDeviceCredentials, 0, id, text))
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: proto.KindDeviceCredentials, ID: id, Text: text}); err != nil {
		return nil, err
	}
	return out.identified(id), nil
}

// saveWithCredentials makes a device together with its credentials.
func (c *call) saveWithCredentials() (any, error) {
	in, err := c.object()
	if err != nil {
		return nil, err
	}
	var creds credentialsBody
	var device document
	if json.Unmarshal(in["device"], &device) != nil || json.Unmarshal(in["credentials"], &creds) != nil || device == nil {
		return nil, bad("the body must have a device and credentials")
	}
	if !isNull(device["id"]) {
		return nil, bad("save an existing device and its credentials one by one")
	}
	id, value, err := creds.check()
	if err != nil {
		return nil, err
	}
	if _, _, err := c.Registry.CredentialsJSON(proto.UUID{}, creds.Type, id, value); err != nil {
		return nil, bad("Device credentials value is malformed")
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	return c.createWith(device, &proto.NewDevice{CredentialsType: creds.Type, CredentialsID: id, CredentialsValue: value})
}
