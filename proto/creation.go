package proto

// NewDevice describes a device to be made at the edge.
type NewDevice struct {
	Name    string // not empty, at most 255 characters
	Type    string // name of its profile; "" = "default"; the server makes a profile that it does not have
	Gateway UUID   // whose device it is; zero for one that provisions itself
	// Credentials as ThingsBoard spells them (wire contract 5.5). An empty type gives an ACCESS_TOKEN, which is generated if the id is empty too;
	// the ids of the other types are computed from the value.
	CredentialsType, CredentialsID, CredentialsValue string
	IsGateway                                        bool // additionalInfo.gateway of its own
	// Entity is the whole device as JSON, and ID its id, if there is more to say of it than the fields above do, of which the name counts all the same.
	ID     UUID
	Entity string
}

// Creation is a device made at the edge, in the words of the wire contract (5.5).
type Creation struct {
	ID, Gateway         UUID
	Device, Credentials string // JSON
}
