//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
)

// meter is an invented device. Only one goroutine uses it at a time.
type meter struct {
	rig.Device
	random                         *rand.Rand
	ts                             int64
	temperature, humidity, battery float64
}

// newMeters turns the cloud's devices into meters. The same devices always get the same values.
func newMeters(devices []rig.Device) []*meter {
	var m []*meter
	for i, d := range devices {
		m = append(m, &meter{
			Device: d, random: rand.New(rand.NewPCG(uint64(i), 1)),
			ts: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), temperature: 21.5, humidity: 48, battery: 3.6,
		})
	}
	return m
}

// step advances the meter by a second.
func (m *meter) step() {
	m.ts += 1000
	m.temperature = math.Round((m.temperature+m.random.NormFloat64()*0.1)*10) / 10
	m.humidity = math.Round((m.humidity+m.random.NormFloat64()*0.2)*10) / 10
	m.battery = math.Round((m.battery+m.random.NormFloat64()*0.005)*100) / 100
}

// appendJSON writes the next event as a timestamped object.
func (m *meter) appendJSON(b []byte) []byte {
	m.step()
	b = append(b, `{"ts":`...)
	b = strconv.AppendInt(b, m.ts, 10)
	b = append(b, `,"values":{"temperature":`...)
	b = strconv.AppendFloat(b, m.temperature, 'f', 1, 64)
	b = append(b, `,"humidity":`...)
	b = strconv.AppendFloat(b, m.humidity, 'f', 1, 64)
	b = append(b, `,"battery":`...)
	b = strconv.AppendFloat(b, m.battery, 'f', 2, 64)
	return append(b, "}}"...)
}

// message returns the next event as the cloud gets it.
func (m *meter) message(id proto.UUID) *proto.EntityDataProto {
	m.step()
	kv := func(key string, v float64) *proto.KeyValueProto {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_DOUBLE_V, DoubleV: v}
	}
	msb, lsb := proto.Halves(id)
	return &proto.EntityDataProto{
		EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE",
		PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{
			Ts: m.ts,
			Kv: []*proto.KeyValueProto{kv("temperature", m.temperature), kv("humidity", m.humidity), kv("battery", m.battery)},
		}}},
	}
}

// post sends the next n events of a meter as one array, or as one object if n is 1. Any answer but
// 200 is an error.
func (m *meter) post(ctx context.Context, client *http.Client, address string, n int, body []byte) ([]byte, error) {
	body = body[:0]
	if n > 1 {
		body = append(body, '[')
	}
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = m.appendJSON(body)
	}
	if n > 1 {
		body = append(body, ']')
	}
	status, err := send(ctx, client, address, m.Token, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the agent answered a post of %d events with %d", n, status)
	}
	return body, err
}

func send(ctx context.Context, client *http.Client, address, token string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/"+token+"/telemetry", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 4096))
	return res.StatusCode, err
}

// fill posts n events, perPost at a time, from four connections.
func fill(ctx context.Context, meters []*meter, address string, n, perPost int) error {
	const workers = 4
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n / perPost))
	done := make(chan error, workers)
	for w := range workers {
		go func() {
			var body []byte
			var err error
			// Each worker has devices of its own, so that the events of a device stay in order.
			for i := w; err == nil && left.Add(-1) >= 0; i += workers {
				if i >= len(meters) {
					i = w
				}
				body, err = meters[i].post(ctx, client, address, perPost, body)
			}
			done <- err
		}()
	}
	var failure error
	for range workers {
		if err := <-done; err != nil && failure == nil {
			failure = err
			cancel()
		}
	}
	return failure
}
