package device

import (
	"errors"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	listenerID = "mqtt"
	// announcedInflight is how many publishes a device may have in flight: what getSessionLimits and MQTT 5's CONNACK say (device API 4.1).
	announcedInflight = 100
)

// newBroker sets up the library: it reads, checks and answers packets, and holds nothing. Of its own, routing, retained messages, wills, sessions
// that outlive a connection, topic aliases, $SYS topics and timers are all off: ThingsBoard is no broker (device API 3.1). Its Serve is
// not called, so none of its loops runs.
func newBroker(m *MQTT) *mqtt.Server {
	s := mqtt.New(&mqtt.Options{
		Logger: slog.New(slog.DiscardHandler), // it logs packets, passwords included
		Capabilities: &mqtt.Capabilities{
			MaximumClients:               MaxMQTTConnections,
			MaximumClientWritesPending:   1, // never used: what is sent goes to the mqttConn
			MaximumSessionExpiryInterval: 0,
			MaximumMessageExpiryInterval: 1,
			MaximumPacketSize:            maxRemaining + 1, // it compares with the remaining length and one
			ReceiveMaximum:               announcedInflight,
			MaximumInflight:              1,
			TopicAliasMaximum:            0,
			MinimumProtocolVersion:       3,
			MaximumQos:                   1,
			WildcardSubAvailable:         1,
			SubIDAvailable:               1,
			Compatibilities:              mqtt.Compatibilities{NoInheritedPropertiesOnAck: true},
		},
		ClientNetReadBufferSize:  16,
		ClientNetWriteBufferSize: 16,
		SysTopicResendInterval:   1 << 30,
	})
	_ = s.AddHook(&hook{m: m}, nil) // fails only for a configuration of the wrong type
	return s
}

// hook is where the library asks us. All its methods are called by the goroutine that reads the connection.
type hook struct {
	mqtt.HookBase
	m *MQTT
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "edgesync" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnSubscribed,
		mqtt.OnUnsubscribed, mqtt.OnPacketProcessed:
		return true
	}
	return false
}

func connOf(cl *mqtt.Client) *mqttConn { return cl.Net.Conn.(*mqttConn) }

func sessionOf(cl *mqtt.Client) *session { return connOf(cl).session.Load() }

// OnPacketRead takes out of a packet what is not offered, before the library acts on it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		c := &pk.Connect
		c.Clean = true
		c.WillFlag, c.WillRetain, c.WillQos, c.WillTopic, c.WillPayload = false, false, 0, "", nil
		c.WillProperties = packets.Properties{}
		c.PasswordFlag = len(c.Password) > 0 // an empty one is fine (device API 3.2)
		pk.Properties = packets.Properties{
			ReceiveMaximum: pk.Properties.ReceiveMaximum, MaximumPacketSize: pk.Properties.MaximumPacketSize,
			RequestProblemInfo: pk.Properties.RequestProblemInfo, RequestProblemInfoFlag: pk.Properties.RequestProblemInfoFlag,
		}
	case packets.Publish:
		if pk.TopicName == "" || pk.TopicName[0] == '$' {
			pk.TopicName = "unknown" // answered like any other (device API 3.3); the library would drop it
		}
	case packets.Puback:
		if s := sessionOf(cl); s != nil {
			s.acknowledged()
		}
	}
	return pk, nil
}

var errRefused = errors.New("refused")

// OnConnect decides who may connect (device API 3.2). After an error the library closes the connection.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	conn := connOf(cl)
	clientID := pk.Connect.ClientIdentifier
	cl.ID = h.m.nextClient()
	if clientID == "" && pk.ProtocolVersion == 5 {
		cl.Properties.Props.AssignedClientID = cl.ID
	}
	cl.Properties.Username = nil
	s, code := h.m.connect(conn, &pk, clientID)
	if s == nil {
		if code != (packets.Code{}) {
			_ = h.m.server.SendConnack(cl, code, false, nil)
		}
		return errRefused
	}
	s.client = cl.ID
	conn.session.Store(s)
	return nil
}

// OnConnectAuthenticate implements mqtt.Hook: OnConnect has decided.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck tells whether a device may subscribe; publishes are judged in OnPublish.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if write {
		return true
	}
	_, ok := sessionOf(cl).filter(topic)
	return ok
}

// OnPublish hands a publish to the session, which acknowledges it when it is durable. To the library it is done.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	id := pk.PacketID
	if pk.FixedHeader.Qos == 0 {
		id = 0
	}
	sessionOf(cl).publish(pk.TopicName, pk.Payload, id)
	return pk, packets.ErrRejectPacket
}

// OnSubscribed makes subscriptions work before the SUBACK leaves (device API 4.1).
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasonCodes []byte) {
	s := sessionOf(cl)
	for i, f := range pk.Filters {
		switch {
		case reasonCodes[i] <= 1:
			s.subscribe(f.Filter, reasonCodes[i])
		case reasonCodes[i] == packets.ErrNotAuthorized.Code:
			reasonCodes[i] = packets.ErrTopicFilterInvalid.Code // device API 4.1
		}
	}
}

// OnUnsubscribed implements mqtt.Hook.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	if s := sessionOf(cl); s != nil {
		for _, f := range pk.Filters {
			s.unsubscribe(f.Filter)
		}
	}
}

// OnPacketProcessed delivers, behind the SUBACK, what was waiting for a subscription.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if err == nil && pk.FixedHeader.Type == packets.Subscribe {
		sessionOf(cl).pending()
	}
}
