// Command paho drives Eclipse's Go client for MQTT, which most devices written in Go use, against
// an agent: paho ADDRESS TOKEN. It prints "ready" when the cloud may act, and "ok" when everything
// came as it should. The end-to-end test of the MQTT clients runs it. It is a module of its own, so
// that the agent's module does not grow by the client.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// limit bounds each wait. It is long, for machines under load.
const limit = 2 * time.Minute

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func wait(what string, t mqtt.Token) error {
	if !t.WaitTimeout(limit) {
		return errors.New(what + " takes too long")
	}
	if t.Error() != nil {
		return fmt.Errorf("%s: %w", what, t.Error())
	}
	return nil
}

func receive(what string, from <-chan string, want string) error {
	select {
	case got := <-from:
		if got != want {
			return fmt.Errorf("%s: got %s, want %s", what, got, want)
		}
		return nil
	case <-time.After(limit):
		return errors.New(what + " does not come")
	}
}

func run(address, token string) error {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + address).SetUsername(token).SetClientID("paho").SetMessageChannelDepth(200)
	c := mqtt.NewClient(o)
	if err := wait("connect", c.Connect()); err != nil {
		return err
	}
	defer c.Disconnect(100)
	attributes, calls := make(chan string, 1), make(chan string, 1)
	if err := wait("subscribe", c.Subscribe("v1/devices/me/attributes", 1,
		func(_ mqtt.Client, m mqtt.Message) { attributes <- string(m.Payload()) })); err != nil {
		return err
	}
	if err := wait("subscribe", c.Subscribe("v1/devices/me/rpc/request/+", 1, func(c mqtt.Client, m mqtt.Message) {
		c.Publish(strings.Replace(m.Topic(), "request", "response", 1), 1, false, `{"did":"it"}`)
		calls <- string(m.Payload())
	})); err != nil {
		return err
	}
	// All are sent before the first one is waited for.
	var sent []mqtt.Token
	for n := 1; n <= 500; n++ {
		sent = append(sent, c.Publish("v1/devices/me/telemetry", 1, false, fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1767225600000+n, n)))
	}
	for _, t := range sent {
		if err := wait("publish", t); err != nil {
			return err
		}
	}
	if t := c.Subscribe("#", 1, nil); t.WaitTimeout(limit) && t.(*mqtt.SubscribeToken).Result()["#"] != 0x80 {
		return errors.New("a subscription to everything is granted")
	}
	fmt.Println("ready")
	if err := receive("the shared attribute", attributes, `{"fan":true}`); err != nil {
		return err
	}
	return receive("the command", calls, `{"method":"setGpio","params":{"pin":1}}`)
}
