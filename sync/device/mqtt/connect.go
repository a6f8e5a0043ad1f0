package mqtt

// Connect is a CONNECT. The slices are of the packet.
type Connect struct {
	Version    byte // 3 (MQTT 3.1), 4 (3.1.1) or 5
	CleanStart bool
	KeepAlive  uint16 // s; 0: none
	Properties Properties
	ClientID   []byte // may be empty
	Will       Will
	HasUser    bool
	User       []byte // any bytes, also where the standard wants UTF-8: such a user is not known
	HasPass    bool   // also without a user name, which only MQTT 5 allows
	Password   []byte
}

// Will is what a CONNECT wants to be published in the name of its sender once that is gone.
type Will struct {
	Given      bool
	QoS        byte // not checked: it may be 3
	Retain     bool // not checked: it may be set without a will
	Properties Properties
	Topic      []byte
	Payload    []byte
}

// Decode takes a CONNECT apart. The error is an [*Error]; only what is malformed, and protocols
// that are not spoken here, are errors.
func (c *Connect) Decode(frame []byte) error {
	*c = Connect{}
	f := fieldsOf(frame, TypeConnect)
	if f.err == nil && frame[0]&15 != 0 {
		f.fail("flags of the header", badBits, ReasonMalformed)
	}
	name := f.binary("protocol name")
	c.Version = f.byte("protocol version")
	flags := f.byte("flags")
	c.KeepAlive = f.uint16("keep-alive")
	switch {
	case f.err != nil:
	case string(name) == "MQIsdp" && c.Version == 3, string(name) == "MQTT" && (c.Version == 4 || c.Version == 5):
	default:
		f.fail("protocol", "not MQTT 3.1, 3.1.1 or 5", ReasonVersion)
	}
	if flags&1 != 0 {
		f.fail("flags", badBits, ReasonMalformed)
	}
	c.CleanStart = flags&0x02 != 0
	if c.Version == 5 {
		c.Properties = f.properties(inConnect)
	}
	c.ClientID = f.text("client id")
	w := &c.Will
	w.Given, w.QoS, w.Retain = flags&0x04 != 0, flags>>3&3, flags&0x20 != 0
	if w.Given {
		if c.Version == 5 {
			w.Properties = f.properties(inWill)
		}
		w.Topic = f.text("topic of the will")
		w.Payload = f.binary("payload of the will")
	}
	if c.HasUser = flags&0x80 != 0; c.HasUser {
		c.User = f.binary("user name")
	}
	if c.HasPass = flags&0x40 != 0; c.HasPass {
		c.Password = f.binary("password")
	}
	if f.err != nil {
		*c = Connect{}
		return f.err
	}
	return nil
}

// Connack answers a CONNECT. "Session present" is never set: no session outlives its connection.
type Connack struct {
	Code byte // 0: accepted; of the version of the CONNECT
	// What follows is for MQTT 5.
	ExpiresAtOnce bool   // the session, though the client asked for more
	AssignedID    string // the client id that the server chose; "": the client has its own
}

// Append appends the packet in the given version.
func (c *Connack) Append(dst []byte, version byte) []byte {
	if version != 5 {
		return append(appendHead(dst, TypeConnack, 0, 2), 0, c.Code)
	}
	size := 0
	if c.ExpiresAtOnce {
		size += 5
	}
	if c.AssignedID != "" {
		size += 3 + len(c.AssignedID)
	}
	var length [4]byte
	n := len(appendLength(length[:0], size))
	dst = append(appendHead(dst, TypeConnack, 0, 2+n+size), 0, c.Code)
	dst = appendLength(dst, size)
	if c.ExpiresAtOnce {
		dst = append(dst, PropSessionExpiry, 0, 0, 0, 0)
	}
	if c.AssignedID != "" {
		dst = appendText(append(dst, propAssignedID), c.AssignedID)
	}
	return dst
}

// AppendDisconnect appends a DISCONNECT of MQTT 5; servers of earlier versions send none.
func AppendDisconnect(dst []byte, reason byte) []byte {
	return append(appendHead(dst, TypeDisconnect, 0, 2), reason, 0)
}

// AppendPingresp appends the answer to a PINGREQ.
func AppendPingresp(dst []byte) []byte { return appendHead(dst, TypePingresp, 0, 0) }
