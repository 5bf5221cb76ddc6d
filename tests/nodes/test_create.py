import pytest

from accounts.models import AuditEntry, Role
from nodes.models import Gpu, Node, NodeImage
from nodes.queries import node_ref
from tests.factories import NodeFactory, OperatorFactory, UserFactory
from tests.nodes import bodies
from vmbackends.base import NodeSettings

pytestmark = pytest.mark.django_db

PATH = "/resources/nodes"


@pytest.fixture
def client(client_of):
    return client_of(OperatorFactory())


def faults(answer) -> list[tuple[str, str]]:
    assert answer.status_code == 400, answer.json()
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def test_it_adds_a_node(client):
    answer = client.post(PATH, bodies.node(), format="json")
    assert answer.status_code == 201
    document = answer.json()
    assert answer.headers["Location"] == f"{PATH}/{document['_id']}"
    assert answer.headers["ETag"] == '"1"'
    assert document["status"] == "offline"
    assert document["capacity"] == {"vcpus": 128, "ramMB": 524_288, "diskGB": 8_000}
    assert [gpu["deviceId"] for gpu in document["gpus"]] == ["GPU-0", "GPU-1"]
    assert document["osImages"] == ["debian-12", "ubuntu-22.04"]
    node = Node.objects.get()
    assert (node.segment, node.cap_vcpus, node.vcpu_overcommit, node.enabled) == ("hall-2", 64, 2.0, True)
    assert node_ref(node).settings == NodeSettings("fast", "ovs-br0", "ovs-br0", True, "kvm", "host-passthrough")


@pytest.mark.parametrize(
    ("there", "uri"),
    [
        ("qemu+tls://worker-01.example.com/system", "qemu+tls://Worker-01.example.com/system?pkipath=/etc/pki"),
        ("qemu+ssh://aiwm@10.0.0.1/system?keyfile=/k", "qemu+tls://10.0.0.1/system"),
        ("qemu:///system?socket=/run/lab-1", "qemu+unix:///system?mode=direct&socket=/run/lab-1"),
        ("qemu:///system?socket=/run/lab-1", "qemu:///system?socket=//run/./lab-1"),
        ("qemu+ssh://worker-01:22/system", "qemu+tls://worker-01.:16514/system"),
        ("qemu:///system", "qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock"),
        ("qemu+ssh://alice@worker-01/session", "qemu+ssh://alice@worker-01/session?no_tty=1"),
    ],
)
def test_it_refuses_a_hypervisor_that_is_a_node_already(client, there, uri):
    other = NodeFactory(name="worker-01", uri=there)
    NodeFactory(uri="")
    answer = client.post(PATH, bodies.node(uri=uri), format="json")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "worker-01 is this hypervisor already: its URI leads to the same libvirt."
    node = NodeFactory(uri="")
    assert client.patch(f"{PATH}/{node.id}", {"uri": uri}, format="json").status_code == 409
    Node.objects.filter(pk=other.pk).update(lost=True)
    answer = client.post(PATH, bodies.node(uri=uri), format="json")
    assert "It is marked lost: take that back, or forget its VMs and delete it." in answer.json()["detail"]
    Node.objects.filter(pk=other.pk).update(lost=False)
    assert client.patch(f"{PATH}/{other.id}", {"uri": uri}, format="json").status_code == 200


@pytest.mark.parametrize(
    ("there", "uri"),
    [
        ("qemu+tls://worker-01/system", "qemu+tls://worker-02/system"),
        ("qemu+tls://worker-01/system", "qemu+tls://worker-01:16515/system"),
        ("qemu:///system?socket=/run/lab-1", "qemu:///system?socket=/run/lab-2"),
        ("qemu:///system", "qemu:///session"),
        ("qemu+ssh://alice@worker-01/session", "qemu+ssh://bob@worker-01/session"),
        ("test:///default", "test:///default"),
    ],
)
def test_it_adds_another_hypervisor(client, there, uri):
    NodeFactory(uri=there)
    assert client.post(PATH, bodies.node(uri=uri), format="json").status_code == 201


def test_it_needs_a_name_a_host_and_capacities(client):
    body = {"name": " worker-08 ", "hostname": "worker-08", "capacity": {"vcpus": 4, "ramMB": 4096, "diskGB": 50}}
    answer = client.post(PATH, body, format="json")
    assert answer.status_code == 201
    node = Node.objects.get()
    assert (node.name, node.segment, node.uri, node.vcpu_overcommit) == ("worker-08", "default", "", 1.0)
    assert node_ref(node).settings == NodeSettings()
    assert faults(client.post(PATH, {}, format="json")) == [
        ("name", "required"), ("hostname", "required"), ("capacity", "required"),
    ]  # fmt: skip


def test_it_writes_an_audit_entry(client):
    node_id = client.post(PATH, bodies.node(), format="json").json()["_id"]
    entry = AuditEntry.objects.get(action="node.create")
    assert (entry.object_type, entry.object_id, entry.org_id, entry.before) == ("node", node_id, None, None)
    assert entry.after["gpus"][1]["use"] == "passthrough"


@pytest.mark.parametrize("role", Role.values)
def test_it_is_for_operators_alone(client_of, role):
    answer = client_of(UserFactory(role=role)).post(PATH, {"nonsense": 1}, format="json")
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert not Node.objects.exists()


def test_it_refuses_a_name_that_is_taken(client):
    NodeFactory(name="worker-gpu-07")
    answer = client.post(PATH, bodies.node(), format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["detail"] == "There is a node named worker-gpu-07 already."


def test_it_refuses_a_name_that_another_took_meanwhile(client, monkeypatch):
    from nodes import actions

    columns = actions._columns

    def slower(body):
        NodeFactory(name="worker-gpu-07")
        return columns(body)

    monkeypatch.setattr(actions, "_columns", slower)
    answer = client.post(PATH, bodies.node(), format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": ""}, ("name", "required")),
        ({"name": "x" * 101}, ("name", "max")),
        ({"name": "a\nb"}, ("name", "pattern")),
        ({"name": "bad name!"}, ("name", "pattern")),
        ({"name": "-worker"}, ("name", "pattern")),
        ({"hostname": "-x"}, ("hostname", "pattern")),
        ({"segment": "a:b"}, ("segment", "pattern")),
        ({"uri": "qemu+ssh://w/system?command=/tmp/evil"}, ("uri", "invalid")),
        ({"uri": "qemu+ssh://me:secret@w/system"}, ("uri", "invalid")),
        ({"pool": "a/b"}, ("pool", "pattern")),
        ({"pool": None}, ("pool", "required")),
        ({"bridge": "br{vlan}"}, ("bridge", "invalid")),
        ({"openvswitch": False}, ("bridge", "invalid")),
        ({"bridge": "br{vlan}{vlan}", "openvswitch": False}, ("bridge", "pattern")),
        ({"bridge": "a-long-name-{vlan}", "openvswitch": False}, ("bridge", "max")),
        ({"bridge": "sixteen-letters-"}, ("bridge", "pattern")),
        ({"bridge": "../br0"}, ("bridge", "pattern")),
        ({"untaggedBridge": "br{vlan}"}, ("untaggedBridge", "pattern")),
        ({"openvswitch": 1}, ("openvswitch", "type")),
        ({"domainType": "xen"}, ("domainType", "enum")),
        ({"cpuMode": "host model"}, ("cpuMode", "pattern")),
        ({"hypervisor": {}}, ("hypervisor", "unknown_field")),
        ({"enabled": "yes"}, ("enabled", "type")),
        ({"lost": True}, ("lost", "unknown_field")),
        ({"colour": "red"}, ("colour", "unknown_field")),
        ({"vcpuOvercommit": 0}, ("vcpuOvercommit", "min")),
        ({"vcpuOvercommit": 65}, ("vcpuOvercommit", "max")),
        ({"capacity": {"vcpus": "8", "ramMB": 1, "diskGB": 1}}, ("capacity.vcpus", "type")),
        ({"capacity": {"vcpus": True, "ramMB": 1, "diskGB": 1}}, ("capacity.vcpus", "type")),
        ({"capacity": {"vcpus": -1, "ramMB": 1, "diskGB": 1}}, ("capacity.vcpus", "min")),
        ({"capacity": {"vcpus": 1, "ramMB": 2**31, "diskGB": 1}}, ("capacity.ramMB", "max")),
        ({"capacity": {"vcpus": 1, "ramMB": 1}}, ("capacity.diskGB", "required")),
        ({"osImages": ["debian-12", "debian-12"]}, ("osImages.1", "duplicate")),
        ({"osImages": ["../etc"]}, ("osImages.0", "pattern")),
        ({"gpus": [bodies.gpu(0), bodies.gpu(0, pciAddress="0000:ff:00.0")]}, ("gpus.1.deviceId", "duplicate")),
        ({"gpus": [bodies.gpu(0), bodies.gpu(1, pciAddress="0000:3b:00.0")]}, ("gpus.1.pciAddress", "duplicate")),
        ({"gpus": [bodies.gpu(deviceId="GPU:0")]}, ("gpus.0.deviceId", "pattern")),
        ({"gpus": [bodies.gpu(pciAddress="3b:00.0")]}, ("gpus.0.pciAddress", "pattern")),
        ({"gpus": [bodies.gpu(use="both")]}, ("gpus.0.use", "enum")),
        ({"gpus": [bodies.gpu(model="NVIDIA L40S", memoryMB=46_068)]}, ("gpus.0.use", "invalid")),
        ({"gpus": "GPU-0"}, ("gpus", "type")),
    ],
)
def test_it_refuses(client, changes, expected):
    assert faults(client.post(PATH, bodies.node(**changes), format="json")) == [expected]
    assert not Node.objects.exists()


def test_it_names_every_fault_at_once(client):
    body = bodies.node(name="", uri="xen:///", gpus=[bodies.gpu(memoryMB=0)])
    fields = [field for field, _ in faults(client.post(PATH, body, format="json"))]
    assert sorted(fields) == ["gpus.0.memoryMB", "name", "uri"]


def test_it_says_nothing_of_a_password_that_it_refuses(client):
    answer = client.post(PATH, bodies.node(uri="qemu+ssh://me:hunter2@w/system"), format="json")
    assert "hunter2" not in answer.content.decode()


def test_it_lets_a_mock_card_be_either(client):
    assert client.post(PATH, bodies.node(gpus=[bodies.gpu(use="either")]), format="json").status_code == 201


def test_it_wants_real_cards_to_be_set_up_for_one(client, monkeypatch):
    from nodes import hardware
    from vmbackends.base import Capabilities

    backend = type("Real", (), {"capabilities": Capabilities()})()
    monkeypatch.setattr(hardware, "get_backend", lambda: backend)
    answer = client.post(PATH, bodies.node(gpus=[bodies.gpu(use="either")]), format="json")
    assert faults(answer) == [("gpus.0.use", "invalid")]


def test_it_adds_one_node_for_one_idempotency_key(client):
    first, second = (
        client.post(PATH, bodies.node(), format="json", headers={"Idempotency-Key": "once"}) for _ in range(2)
    )
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (Node.objects.count(), Gpu.objects.count(), NodeImage.objects.count()) == (1, 2, 2)
