"""Drives ThingsBoard's own Python SDK (tb-mqtt-client) against an agent: sdk.py ROLE PORT SECRET.
The roles are a device, a gateway, a device without credentials and a device with new firmware. The
end-to-end test of the MQTT clients runs it. It prints "ready" when the cloud may act, and "ok" when
everything came as it should."""

import hashlib
import queue
import sys
import time

from tb_device_mqtt import ProvisionClient, TBDeviceMqttClient
from tb_gateway_mqtt import TBGatewayMqttClient

ROLE, PORT, SECRET = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LIMIT = 120  # seconds that each wait may take: long, for machines under load
TS = 1767225600000


def expect(what, got, want):
    if got != want:
        print(f"{what}: got {got!r}, want {want!r}", flush=True)
        sys.exit(1)


def wait(what, q):
    try:
        return q.get(timeout=LIMIT)
    except queue.Empty:
        print(f"{what}: waited {LIMIT} s", flush=True)
        sys.exit(1)


def published(what, info):
    expect(what, info.get(), 0)


def connect(client):
    client.connect()  # without a callback: the SDK sets it only after it has begun to connect
    for _ in range(LIMIT * 20):
        if client.is_connected():
            return
        time.sleep(0.05)
    print("never connected", flush=True)
    sys.exit(1)


def device():
    client = TBDeviceMqttClient("127.0.0.1", PORT, SECRET)
    attributes, calls, answers, read = queue.Queue(), queue.Queue(), queue.Queue(), queue.Queue()
    connect(client)
    client.subscribe_to_all_attributes(lambda value, error: attributes.put((value, error)))

    def called(request_id, request):
        calls.put(request)
        client.send_rpc_reply(request_id, {"did": request["method"]})

    client.set_server_side_rpc_request_handler(called)
    # Many are sent at a time, some numbers as strings; each is waited for at the end.
    infos = [client.send_telemetry({"ts": TS + n, "values": {"n": n, "text": str(n)}}) for n in range(1, 51)]
    for n, info in enumerate(infos):
        published(f"telemetry {n}", info)
    published("attributes", client.send_attributes({"fw": "1.2x", "mode": 3}))
    client.request_attributes(client_keys=["fw", "mode"], callback=lambda value, error: read.put((value, error)))
    expect("what it wrote", wait("attribute request", read), ({"client": {"fw": "1.2x", "mode": 3}}, None))
    print("ready", flush=True)
    expect("shared attribute", wait("shared attribute", attributes), ({"fan": True}, None))
    expect("command", wait("command", calls), {"method": "setGpio", "params": {"pin": 1}})
    client.request_attributes(shared_keys=["fan"], callback=lambda value, error: read.put((value, error)))
    expect("shared attribute, asked for", wait("attribute request", read), ({"shared": {"fan": True}}, None))
    client.send_rpc_call("getTime", {}, lambda _id, response, error: answers.put((response, error)))
    expect("call", wait("call", answers), ({"time": 5}, None))
    client.stop()


def gateway():
    client = TBGatewayMqttClient("127.0.0.1", PORT, SECRET)
    attributes, calls, read = queue.Queue(), queue.Queue(), queue.Queue()
    connect(client)
    client.gw_subscribe_to_all_attributes(attributes.put)

    def called(_client, request):
        calls.put(request)
        client.gw_send_rpc_reply(request["device"], request["data"]["id"], {"did": request["data"]["method"]})

    client.gw_set_server_side_rpc_request_handler(called)
    published("connect", client.gw_connect_device("Sensor A", "thermometer"))
    published("connect", client.gw_connect_device("Sensor B"))
    for n in range(1, 21):
        published("telemetry", client.gw_send_telemetry("Sensor A", [{"ts": TS + n, "values": {"n": n}}]))
        published("telemetry", client.gw_send_telemetry("Sensor B", {"ts": TS + n, "values": {"n": str(n)}}))
    published("attributes", client.gw_send_attributes("Sensor A", {"serial": "x7"}))
    client.gw_request_client_attributes("Sensor A", ["serial"], lambda message, error: read.put((message.get("value"), error)))
    expect("what it wrote", wait("attribute request", read), ("x7", None))
    print("ready", flush=True)
    expect("shared attribute", wait("shared attribute", attributes), {"device": "Sensor A", "data": {"fan": True}})
    request = wait("command", calls)
    expect("command", (request["device"], request["data"]["method"], request["data"]["params"]), ("Sensor A", "setMode", "eco"))
    published("disconnect", client.gw_disconnect_device("Sensor A"))
    client.stop()


def provision():
    key, secret = SECRET.split(":")
    client = ProvisionClient("127.0.0.1", PORT, {"deviceName": "Newborn", "provisionDeviceKey": key, "provisionDeviceSecret": secret})
    client.provision(timeout=LIMIT)
    credentials = client.get_credentials()
    expect("status", credentials and credentials.get("status"), "SUCCESS")
    expect("type", credentials.get("credentialsType"), "ACCESS_TOKEN")
    newborn = TBDeviceMqttClient("127.0.0.1", PORT, credentials["credentialsValue"])
    connect(newborn)
    published("telemetry", newborn.send_telemetry({"ts": TS, "values": {"n": 1}}))
    newborn.stop()


def firmware():
    """SECRET is TOKEN:TITLE:SHA256: the token, then the firmware that will come. The SDK writes the
    firmware to a file named TITLE in the working directory."""
    token, title, checksum = SECRET.split(":")
    client = TBDeviceMqttClient("127.0.0.1", PORT, token, chunk_size=4096)
    told, send = {}, client.send_telemetry  # by state, what is to be waited for

    def tell(values, *more, **named):
        info = send(values, *more, **named)
        if isinstance(values, dict) and "fw_state" in values:
            told[values["fw_state"]] = info
        return info

    client.send_telemetry = tell
    connect(client)
    client.get_firmware_update()
    print("ready", flush=True)
    for _ in range(LIMIT * 20):
        if "UPDATED" in told:
            break
        time.sleep(0.05)
    for state in ("DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATED"):
        published(state, told[state])
    # A number that the server makes of the version on its way to an edge does not get here.
    expect("state", client.current_firmware_info, {"current_fw_title": title, "current_fw_version": "2.10", "fw_state": "UPDATED"})
    with open(title, "rb") as f:
        expect("checksum", hashlib.sha256(f.read()).hexdigest(), checksum)
    client.stop()


{"device": device, "gateway": gateway, "provision": provision, "firmware": firmware}[ROLE]()
print("ok", flush=True)
