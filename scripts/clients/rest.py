"""Drives ThingsBoard's own Python REST client (tb-ce-client) against an agent, as a script of an
integrator does: rest.py URL. The end-to-end test of the REST API runs it. It prints "ok" when
everything came as it should. At its end "py kept", "py hall" and the relation between them
remain."""

import json
import sys
import threading
import time
import urllib.request

import tb_ce_client.models as model
from tb_ce_client.client import ThingsboardClient
from tb_ce_client.exceptions import ApiException

URL = sys.argv[1]


def expect(what, got, want):
    if got != want:
        print(f"{what}: got {got!r}, want {want!r}", flush=True)
        sys.exit(1)


def refused(what, status, call):
    try:
        call()
    except ApiException as e:
        expect(what, e.status, status)
        return
    expect(what, "accepted", status)


polls = []  # what came of the device's polls that brought no call


def answer_one_call(token):
    """The device: waits for a call and answers it with its parameters. As firmware does, it polls
    again when a poll brings none, or its connection ends because the machine is busy."""
    call = None
    while call is None and len(polls) < 100:
        try:
            with urllib.request.urlopen(f"{URL}/api/v1/{token}/rpc?timeout=20000", timeout=120) as r:
                call = json.load(r)
        except OSError as e:
            polls.append(f"{time.strftime('%X')} {e!r}")
            time.sleep(0.2)
    body = json.dumps(call["params"]).encode()
    urllib.request.urlopen(urllib.request.Request(f"{URL}/api/v1/{token}/rpc/{call['id']}", data=body), timeout=120).close()


refused("a wrong password", 401, lambda: ThingsboardClient(URL, username="tenant@example.org", password="wrong"))
c = ThingsboardClient(URL, username="tenant@example.org", password="tenant")
expect("user", c.get_user().email, "tenant@example.org")

device = c.save_device(model.Device(name="py device", label="x", type="default"), access_token="py-token")
kept = c.save_device(model.Device(name="py kept", type="default"))
refused("a name twice", 400, lambda: c.save_device(model.Device(name="py device", type="default")))
did = str(device.id.id)
expect("by id", c.get_device_by_id(did).name, "py device")
expect("by name", c.get_tenant_device_by_name("py device").label, "x")
expect("page", c.get_tenant_devices(page_size=1, page=0).total_elements >= 2, True)
credentials = c.get_device_credentials_by_device_id(did)
expect("credentials", credentials.credentials_id, "py-token")
credentials.credentials_id = "py-token-2"
expect("new credentials", c.update_device_credentials(credentials).credentials_id, "py-token-2")
device.label = "y"
expect("update", c.save_device(device).label, "y")

c.save_entity_attributes_v2("DEVICE", did, "SHARED_SCOPE", '{"fan":3}')
expect("attributes", [(a.key, a.value) for a in c.get_attributes("DEVICE", did)], [("fan", 3)])
c.save_entity_telemetry("DEVICE", did, "ANY", '{"t":1.5}')
expect("latest", str(c.get_latest_timeseries("DEVICE", did)["t"][0].value), "1.5")
c.delete_entity_attributes("DEVICE", did, "SHARED_SCOPE", keys="fan")
expect("attributes", c.get_attributes("DEVICE", did), [])

poll = threading.Thread(target=answer_one_call, args=("py-token-2",))
poll.start()
# The client prints JSON as a Python literal.
try:
    answer = c.handle_two_way_device_rpc_request_v2(did, '{"method":"set","params":{"pin":4},"timeout":60000}')
except ApiException as e:
    answer = f"{e.status} at {time.strftime('%X')}, after polls that ended {polls}"
expect("call", answer, "{'pin': 4}")
poll.join()

hall = c.save_asset(model.Asset(name="py hall", type="default"))
for end in (device, kept):
    c.save_relation(model.EntityRelation.from_dict({
        "from": hall.id.to_dict(), "to": end.id.to_dict(), "type": "Contains", "typeGroup": "COMMON"}))
expect("relations", len(c.find_entity_relations_by_from("ASSET", str(hall.id.id))), 2)

alarm = c.save_alarm(model.Alarm(type="hot", originator=device.id, severity="MAJOR", acknowledged=False, cleared=False,
                                 name="hot", status="ACTIVE_UNACK"))
aid = str(alarm.id.id)
c.ack_alarm(aid)
c.clear_alarm(aid)
expect("alarm", c.get_alarm_by_id(aid).status.value, "CLEARED_ACK")
expect("alarms", c.get_alarms_by_entity("DEVICE", did, page_size=5, page=0).total_elements, 1)
c.delete_alarm(aid)

c.delete_relations(did, "DEVICE")
c.delete_device(did)
refused("a deleted device", 404, lambda: c.get_device_by_id(did))
print("ok", flush=True)
