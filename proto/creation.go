package proto

// NewDevice describes a device to be made at the edge.
type NewDevice struct {
	Name    string // not empty, at most 255 characters
	Type    string // name of its profile, which the server makes if it has none so named; "" = "default"
	Gateway UUID   // the gateway that reported the device; zero for a device that provisions itself
	// Credentials as ThingsBoard spells them (CONTRACT.md 5.5). An empty type stands for
	// ACCESS_TOKEN; the token is generated if the id is empty too. The ids of the other types are
	// computed from the value.
	CredentialsType, CredentialsID, CredentialsValue string
	IsGateway                                        bool // the device is a gateway itself: additionalInfo.gateway
	// Entity is the whole device as JSON, and ID its id, for a device of which more is known than
	// the fields above hold; of those fields the name counts nevertheless.
	ID     UUID
	Entity string
}

// Creation is a device made at the edge, as the messages describe it (CONTRACT.md 5.5).
type Creation struct {
	ID, Gateway         UUID
	Device, Credentials string // JSON
}
