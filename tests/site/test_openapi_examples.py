"""The OpenAPI document against what the service takes and gives: its examples, its bodies, its answers."""

import copy
import json
from datetime import timedelta

import pytest
from django.utils import timezone
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # the library ships no types

from accounts.models import Role
from common.errors import ValidationFailed
from resources import examples
from resources.config import parse_create
from resources.models import MetricsHour
from resources.states import Status
from tasks.worker import drain
from tests.factories import (
    GpuFactory,
    NodeFactory,
    OperatorFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
    static_network,
)

pytestmark = pytest.mark.django_db

VM = "/resources/{resourceId}"


@pytest.fixture
def schema(client):
    response = client.get("/schema")
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def api(user, client_of):
    return client_of(user)


def resolved(schema, part):
    while "$ref" in part:
        found = schema
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def validator(schema, part):
    Draft202012Validator.check_schema(part)
    return Draft202012Validator(
        {**part, "components": schema["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def faults(schema, part, value):
    return [f"{error.json_path}: {error.message}" for error in validator(schema, part).iter_errors(value)]


def body_faults(schema, value, method="post", path="/resources"):
    media = schema["paths"][path][method]["requestBody"]["content"]["application/json"]
    return faults(schema, media["schema"], value)


def documented(schema, response, status, method, path):
    """The answer's body, which is as the document has it: status, media type, members, headers."""
    assert response.status_code == status, response.content
    described = resolved(schema, schema["paths"][path][method]["responses"][str(status)])
    for name, header in described.get("headers", {}).items():
        if resolved(schema, header).get("required"):
            assert name in response.headers, name
    content = described.get("content", {})
    if not content:
        assert not response.content
        return None
    media_type = response["Content-Type"].partition(";")[0]
    assert media_type in content
    is_json = media_type.endswith("json")
    body = json.loads(response.content) if is_json else response.content.decode()
    assert faults(schema, content[media_type]["schema"], body) == []
    return body


def operations(schema):
    return [
        (f"{method} {path}", operation) for path, item in schema["paths"].items() for method, operation in item.items()
    ]


# The document itself


def test_its_examples_are_what_it_says(schema):
    seen = 0
    for name, operation in operations(schema):
        media = [operation.get("requestBody", {}), *operation["responses"].values()]
        for kind in (kind for part in media for kind in resolved(schema, part).get("content", {}).values()):
            for example in kind.get("examples", {}).values():
                assert faults(schema, kind["schema"], example["value"]) == [], name
                seen += 1
    assert seen > 20


def test_each_operation_on_vms_has_a_summary_and_an_example_of_success(schema):
    for name, operation in operations(schema):
        if "/nodes" in name or "/resources" not in name:
            continue
        assert operation["summary"], name
        assert operation["description"], name
        good = [operation["responses"][status] for status in operation["responses"] if status[0] == "2"]
        assert good, name
        for response in good:
            for media in response["content"].values():
                assert "examples" in media or name.endswith("/catalog"), name


def test_ids_in_paths_have_patterns(schema):
    for name, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] != "nodeId":
                assert parameter["schema"]["pattern"].endswith("[0-9a-f]{24}$"), name


def test_bodies_take_no_unknown_member(schema):
    for name in ("CreateBody", "VirtualMachineConfig", "StaticNetwork", "CloudInit", "ForceBody", "SnapshotBody"):
        assert schema["components"]["schemas"][name]["additionalProperties"] is False, name


def test_a_password_is_asked_for_and_never_answered(schema):
    parts = schema["components"]["schemas"]
    assert parts["CloudInit"]["properties"]["password"]["writeOnly"] is True
    assert "password" not in parts["CloudInitDetails"]["properties"]


# Bodies: the document and the server agree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqb0nDkGF0nD0Yd5m0mTnLPnmhAeMTzvzkqGRxGd0mz me@here"
CHANGES = {
    "as it is": {},
    "dhcp": {"config.networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"}},
    "untagged": {"config.networkConfig": static_network("10.0.0.7", None)},
    "no description": {"description": None},
    "emoji of several": {"name": "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"},
    "two lines": {"description": "one\n\ttwo"},
    "no gpu": {"config.gpuConfig": None},
    "gpu off": {"config.gpuConfig": {"enabled": False, "mode": "passthrough", "deviceIds": 7}},
    "mig": {"config.gpuConfig": {"enabled": True, "mode": "mig", "migProfile": "1g.5gb", "deviceIds": None}},
    "no cloud-init": {"config.cloudInit": None},
    "windows": {"config.osImage": "windows-server-2022", "config.cloudInit.username": "Jo Doe"},
    "key": {"config.cloudInit.sshPublicKey": KEY},
    "password": {"config.cloudInit.password": "correct horse"},
    "spaces around": {"name": "  web  "},
    # and what neither takes
    "blank name": {"name": "  "},
    "long name": {"name": "x" * 101},
    "control character": {"name": "a\x07b"},
    "text turned around": {"name": "a\u202eb"},
    "invisible character": {"name": "a\u200bb"},
    "joiner between Latin letters": {"name": "a\u200db"},
    "text turned around in the description": {"description": "a\u2067b"},
    "unknown member": {"colour": "red"},
    "unknown inner member": {"config.colour": "red"},
    "text for a number": {"config.vcpus": "8"},
    "true for a number": {"config.vcpus": True},
    "a fraction": {"config.vcpus": 8.5},
    "too many vcpus": {"config.vcpus": 129},
    "too little ram": {"config.ramMB": 511},
    "too much disk": {"config.diskGB": 10_241},
    "image": {"config.osImage": "beos"},
    "other type": {"resourceType": "container"},
    "node": {"nodeId": "worker-01"},
    "null vcpus": {"config.vcpus": None},
    "static without address": {"config.networkConfig.ipAddress": None},
    "static without mode": {"config.networkConfig": {"ipMode": "static"}},
    "dhcp with address": {"config.networkConfig.ipMode": "dhcp"},
    "bad address": {"config.networkConfig.ipAddress": "192.168.100.256"},
    "holes in the netmask": {"config.networkConfig.netmask": "255.0.255.0"},
    "netmask without hosts": {"config.networkConfig.netmask": "255.255.255.254"},
    "vlan": {"config.networkConfig.vlanId": 4095},
    "gpu without mode": {"config.gpuConfig": {"enabled": True}},
    "gpu unsaid": {"config.gpuConfig": {"mode": "mig", "migProfile": "1g.5gb"}},
    "gpu without devices": {"config.gpuConfig.deviceIds": []},
    "gpu twice": {"config.gpuConfig.deviceIds": ["GPU-0", "GPU-0"]},
    "gpu with profile": {"config.gpuConfig.migProfile": "1g.5gb"},
    "mig without profile": {"config.gpuConfig": {"enabled": True, "mode": "mig"}},
    "mig with devices": {
        "config.gpuConfig": {"enabled": True, "mode": "mig", "migProfile": "1g.5gb", "deviceIds": ["GPU-0"]}
    },
    "gpu off with unknown": {"config.gpuConfig": {"enabled": False, "colour": "red"}},
    "linux name on windows": {"config.osImage": "windows-server-2022", "config.cloudInit.username": "a/b"},
    "windows name on linux": {"config.cloudInit.username": "Administrator"},
    "hostname": {"config.cloudInit.hostname": "-web"},
    "address for a hostname": {"config.cloudInit.hostname": "10.0.0.1"},
    "private key": {"config.cloudInit.sshPublicKey": "-----BEGIN OPENSSH PRIVATE KEY-----"},
    "key of another type": {"config.cloudInit.sshPublicKey": KEY.replace("ssh-ed25519 ", "ssh-rsa ")},
    "empty password": {"config.cloudInit.password": ""},
    "control character in the password": {"config.cloudInit.password": "a\tb"},
}
REFUSED = list(CHANGES).index("blank name")


def changed(changes):
    body = copy.deepcopy(examples.CREATE_REQUEST)
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = body
        for name in parents:
            part = part[name]
        part[last] = value
    return body


@pytest.mark.parametrize("name", list(CHANGES)[:REFUSED])
def test_a_good_body_is_one_for_both(schema, name):
    body = changed(CHANGES[name])
    assert body_faults(schema, body) == []
    parse_create(body)


@pytest.mark.parametrize("name", list(CHANGES)[REFUSED:])
def test_a_bad_body_is_one_for_both(schema, name):
    body = changed(CHANGES[name])
    assert body_faults(schema, body)
    with pytest.raises(ValidationFailed):
        parse_create(body)


def test_a_body_without_a_required_member_is_bad(schema):
    for name in examples.CREATE_REQUEST:
        body = {key: value for key, value in examples.CREATE_REQUEST.items() if key != name}
        assert bool(body_faults(schema, body)) == (name != "description")


@pytest.mark.parametrize(
    ("patch", "good"),
    [
        ({}, True),
        ({"name": "new"}, True),
        ({"description": None}, True),
        ({"config": {"vcpus": 4, "gpuConfig": None, "cloudInit": None}}, True),
        ({"config": {"networkConfig": {"ipMode": "dhcp"}}}, True),
        ({"name": None}, False),
        ({"config": None}, False),
        ({"config": {"vcpus": None}}, False),
        ({"config": {"networkConfig": None}}, False),
        ({"config": {"colour": None}}, False),
        ({"status": "running"}, False),
    ],
)
def test_a_patch_is_good_or_bad_for_both(schema, api, user, patch, good):
    vm = VirtualMachineFactory(organization=user.organization, owner=user, config={"networkConfig": STATIC})
    assert (body_faults(schema, patch, "patch", VM) == []) is good
    response = api.patch(f"/resources/{vm.id}", patch, format="json")
    documented(schema, response, 200 if good else 400, "patch", VM)


STATIC = static_network("10.1.0.9")


# Answers


def test_a_created_vm_is_as_documented(schema, api):
    node = NodeFactory(id=examples.NODE_ID)
    for number in range(2):
        GpuFactory(node=node, device_id=f"GPU-{number}")
    response = api.post("/resources", examples.CREATE_REQUEST, format="json", headers={"Idempotency-Key": "one"})
    body = documented(schema, response, 201, "post", "/resources")
    again = api.post("/resources", examples.CREATE_REQUEST, format="json", headers={"Idempotency-Key": "one"})
    assert documented(schema, again, 201, "post", "/resources") == body
    assert again["Idempotent-Replayed"] == "true"
    assert body["config"] == examples.CREATE["config"]
    assert set(body) == set(examples.CREATE)


def test_a_vm_is_as_documented_from_creation_to_deletion(schema, api):
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-0")
    gpu = {"enabled": True, "mode": "mig", "migProfile": "1g.5gb"}
    body = create_body(node)
    body["config"] |= {"gpuConfig": gpu, "networkConfig": static_network("10.2.0.9")}
    created = documented(schema, api.post("/resources", body, format="json"), 201, "post", "/resources")
    url = f"/resources/{created['_id']}"

    def look():
        documented(schema, api.get(url), 200, "get", VM)
        for name in ("status", "logs", "metrics", "metrics/history", "tasks", "snapshots"):
            documented(schema, api.get(f"{url}/{name}"), 200, "get", f"{VM}/{name}")
        documented(schema, api.get("/resources"), 200, "get", "/resources")

    def act(name, body=None):
        answer = documented(schema, api.post(f"{url}/{name}", body, format="json"), 202, "post", f"{VM}/{name}")
        look()
        task = f"/resources/tasks/{answer['taskId']}"
        documented(schema, api.get(task), 200, "get", "/resources/tasks/{taskId}")
        drain(ignore_waits=True)
        assert documented(schema, api.get(task), 200, "get", "/resources/tasks/{taskId}")["status"] == "succeeded"
        look()

    look()
    act("start")
    documented(schema, api.get(f"{url}/console"), 200, "get", f"{VM}/console")
    documented(schema, api.get(f"{url}/logs?format=text"), 200, "get", f"{VM}/logs")
    act("restart", {"force": True})
    act("stop")
    documented(schema, api.get(f"{url}/console"), 409, "get", f"{VM}/console")
    documented(schema, api.delete(url), 202, "delete", VM)
    documented(schema, api.get(url), 404, "get", VM)
    documented(schema, api.get("/resources/tasks?limit=2"), 200, "get", "/resources/tasks")


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_a_vm_in_any_status_is_as_documented(schema, client_of, status, role):
    user = UserFactory(role=role)
    extra = {"error_message": "The node went away"} if status in (Status.FAILED, Status.ERROR) else {}
    vm = VirtualMachineFactory(organization=user.organization, status=status, description="of the shop", **extra)
    api = client_of(user)
    body = documented(schema, api.get(f"/resources/{vm.id}"), 200, "get", VM)
    assert ("allowedActions" in body) == (role == Role.MEMBER)
    for name in ("status", "metrics", "logs"):
        documented(schema, api.get(f"/resources/{vm.id}/{name}"), 200, "get", f"{VM}/{name}")
    documented(schema, api.get(f"/resources?status={status}"), 200, "get", "/resources")


def test_what_was_read_already_is_answered_as_documented(schema, api, user):
    vm = VirtualMachineFactory(organization=user.organization)
    for url, path in ((f"/resources/{vm.id}", VM), ("/resources", "/resources")):
        tag = api.get(url)["ETag"]
        documented(schema, api.get(url, headers={"If-None-Match": tag}), 304, "get", path)


def test_a_vm_that_was_never_on_a_node_is_deleted_as_documented(schema, api, user):
    vm = VirtualMachineFactory(organization=user.organization)
    documented(schema, api.delete(f"/resources/{vm.id}"), 200, "delete", VM)


def test_a_list_is_as_documented(schema, client_of):
    for status in Status:
        VirtualMachineFactory(status=status)
    api = client_of(OperatorFactory())
    query = "resourceType=virtual-machine&status=running,stopped&page=1&limit=10&sortBy=name&sortOrder=asc"
    body = documented(schema, api.get(f"/resources?{query}"), 200, "get", "/resources")
    assert len(body["data"]) == 2


def test_a_history_is_as_documented(schema, api, user):
    vm = VirtualMachineFactory(organization=user.organization, status=Status.RUNNING)
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    points = [[n * 60, 20.5, 50, 4.5, None, n * 1000, n * 500] for n in range(60)]
    MetricsHour.objects.create(vm=vm, hour=hour, points=points)
    url = f"/resources/{vm.id}/metrics/history?range=6h"
    body = documented(schema, api.get(url), 200, "get", f"{VM}/metrics/history")
    assert len(body["points"]) > 5


def test_snapshots_are_as_documented(schema, api, user):
    vm = VirtualMachineFactory(organization=user.organization, status=Status.RUNNING)
    path = f"{VM}/snapshots"
    url = f"/resources/{vm.id}/snapshots"
    body = {"name": "Before GPU Driver Update", "description": "Snapshot before updating NVIDIA drivers"}
    assert body_faults(schema, body, "post", path) == []
    made = documented(schema, api.post(url, body, format="json"), 201, "post", path)
    SnapshotFactory(vm=vm, status="failed", error="No room")
    one = f"{url}/{made['snapshotId']}"
    documented(schema, api.get(url), 200, "get", path)
    documented(schema, api.post(f"{one}/restore"), 202, "post", f"{path}/{{snapshotId}}/restore")
    drain(ignore_waits=True)
    documented(schema, api.delete(one), 202, "delete", f"{path}/{{snapshotId}}")


def test_a_cancelled_task_is_as_documented(schema, api, user):
    vm = VirtualMachineFactory(organization=user.organization)
    task = api.post(f"/resources/{vm.id}/start").json()["taskId"]
    path = "/resources/tasks/{taskId}/cancel"
    body = documented(schema, api.post(f"/resources/tasks/{task}/cancel"), 200, "post", path)
    assert body["status"] == "cancelled"
    documented(schema, api.post(f"/resources/tasks/{task}/cancel"), 409, "post", path)


def test_the_catalogue_and_a_price_are_as_documented(schema, api):
    NodeFactory()
    documented(schema, api.get("/resources/catalog"), 200, "get", "/resources/catalog")
    body = {"config": examples.CONFIG}
    response = api.post("/resources/estimate", body, format="json")
    assert documented(schema, response, 200, "post", "/resources/estimate") == examples.ESTIMATE


def test_errors_are_as_documented(schema, api, user, client_of):
    running = VirtualMachineFactory(organization=user.organization, status=Status.RUNNING)
    url = f"/resources/{running.id}"
    documented(schema, api.get("/resources?page=0"), 400, "get", "/resources")
    documented(schema, api.post(f"{url}/start"), 409, "post", f"{VM}/start")
    documented(schema, api.post(f"{url}/stop", headers={"If-Match": '"99"'}), 412, "post", f"{VM}/stop")
    documented(schema, client_of(UserFactory()).get(url), 404, "get", VM)
    viewer = client_of(UserFactory(organization=user.organization, role=Role.VIEWER))
    documented(schema, viewer.post(f"{url}/stop"), 403, "post", f"{VM}/stop")
    documented(schema, viewer.get(f"{url}/console"), 403, "get", f"{VM}/console")
