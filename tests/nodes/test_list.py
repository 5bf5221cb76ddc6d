import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Role
from nodes import claims, room
from nodes.models import GpuUse
from nodes.room import Room
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db

PATH = "/resources/nodes"


@pytest.fixture
def user():
    return UserFactory(role=Role.VIEWER)


@pytest.fixture
def client(client_of, user):
    return client_of(user)


def test_it_lists_nodes_by_name(client):
    for name in ("worker-02", "worker-01"):
        NodeFactory(name=name)
    answer = client.get(PATH)
    assert answer.status_code == 200
    assert [node["name"] for node in answer.json()["data"]] == ["worker-01", "worker-02"]
    assert answer.json()["pagination"] == {"total": 2, "page": 1, "limit": 20, "totalPages": 1}


def test_it_shows_a_node_as_users_may_see_it(client):
    node = NodeFactory(
        name="worker-01", uri="qemu+tls://10.1.2.3/system", vcpu_overcommit=1.5, cap_vcpus=10, cap_ram_mb=1000,
        cap_disk_gb=100, last_seen="2025-12-03T10:30:00Z",
    )  # fmt: skip
    room.reserve(node.id, Room(4, 300, 20))
    (document,) = client.get(PATH).json()["data"]
    assert document == {
        "_id": node.id,
        "name": "worker-01",
        "hostname": "worker-01.example.com",
        "segment": "default",
        "status": "online",
        "capacity": {"vcpus": 15, "ramMB": 1000, "diskGB": 100},
        "allocated": {"vcpus": 4, "ramMB": 300, "diskGB": 20},
        "free": {"vcpus": 11, "ramMB": 700, "diskGB": 80},
        "gpus": [],
        "lastSeen": "2025-12-03T10:30:00.000Z",
    }


def test_it_shows_the_hypervisors_address_to_operators_alone(client, client_of):
    NodeFactory(
        uri="qemu+tls://10.1.2.3/system", vcpu_overcommit=1.5, images=["debian-12"], probed_domain_type="kvm",
        hypervisor={"libvirt": "9.0.0"}, capabilities=["uefi"],
    )  # fmt: skip
    assert "10.1.2.3" not in client.get(PATH).content.decode()
    (document,) = client_of(OperatorFactory()).get(PATH).json()["data"]
    assert document["uri"] == "qemu+tls://10.1.2.3/system"
    assert document["bridge"] == "br{vlan}"
    assert (document["domainType"], document["cpuMode"]) == (None, None)
    assert document["hypervisor"] == {
        "domainType": "kvm", "cpuMode": None, "versions": {"libvirt": "9.0.0"}, "capabilities": ["uefi"],
    }  # fmt: skip
    assert document["vcpuOvercommit"] == 1.5
    assert document["osImages"] == ["debian-12"]


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "online"),
        ({"online": False}, "offline"),
        ({"enabled": False}, "maintenance"),
        ({"enabled": False, "online": False}, "maintenance"),
        ({"lost": True, "enabled": False}, "lost"),
    ],
)
def test_it_tells_the_status(client, columns, status):
    NodeFactory(**columns)
    assert client.get(PATH).json()["data"][0]["status"] == status


def test_it_shows_gpus_and_what_is_free_of_them(client, user):
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-10", model="NVIDIA L40S", memory_mb=46_068, use=GpuUse.PASSTHROUGH)
    card = GpuFactory(node=node, device_id="GPU-2", use=GpuUse.EITHER, pci_address="0000:3b:00.0")
    claims.take_mig("c" * 24, user.organization_id, node.id, "3g.20gb")
    mig, whole = client.get(PATH).json()["data"][0]["gpus"]
    assert mig == {
        "deviceId": "GPU-2",
        "model": card.model,
        "memoryMB": 40_960,
        "pciAddress": "0000:3b:00.0",
        "use": "either",
        "migCapable": True,
        "migProfiles": [
            {"profile": "1g.5gb", "free": 4},
            {"profile": "1g.10gb", "free": 2},
            {"profile": "2g.10gb", "free": 2},
            {"profile": "3g.20gb", "free": 1},
            {"profile": "4g.20gb", "free": 1},
            {"profile": "7g.40gb", "free": 0},
        ],
        "available": True,
        "allocatedTo": ["c" * 24],
    }
    assert (whole["deviceId"], whole["migCapable"], whole["migProfiles"]) == ("GPU-10", False, [])
    assert (whole["available"], whole["allocatedTo"]) == (True, [])


@pytest.mark.parametrize("use", GpuUse.values)
def test_it_says_when_nothing_of_a_gpu_is_left(client, use):
    node = NodeFactory()
    gpu = GpuFactory(node=node, device_id="GPU-0", use=use)
    if use == "mig":
        claims.take_mig("c" * 24, "", node.id, "7g.40gb")
    else:
        claims.take_gpus("c" * 24, "", node.id, [gpu.device_id])
    (document,) = client.get(PATH).json()["data"][0]["gpus"]
    assert document["available"] is False
    assert all(profile["free"] == 0 for profile in document["migProfiles"])


def test_it_gives_nothing_of_a_gpu_that_the_node_no_longer_has(client):
    GpuFactory(present=False)
    (document,) = client.get(PATH).json()["data"][0]["gpus"]
    assert document["available"] is False
    assert {profile["free"] for profile in document["migProfiles"]} == {0}


def test_it_names_ones_own_vms_alone(client, user, client_of):
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-0", use=GpuUse.MIG)
    claims.take_mig("a" * 24, user.organization_id, node.id, "1g.5gb")
    claims.take_mig("b" * 24, OrganizationFactory().id, node.id, "1g.5gb")
    assert client.get(PATH).json()["data"][0]["gpus"][0]["allocatedTo"] == ["a" * 24]
    assert "b" * 24 not in client.get(PATH).content.decode()
    seen = client_of(OperatorFactory()).get(PATH).json()["data"][0]["gpus"][0]["allocatedTo"]
    assert seen == ["a" * 24, "b" * 24]


def test_it_pages(client):
    for n in range(3):
        NodeFactory(name=f"worker-{n}")
    answer = client.get(PATH, {"page": 2, "limit": 2}).json()
    assert [node["name"] for node in answer["data"]] == ["worker-2"]
    assert answer["pagination"] == {"total": 3, "page": 2, "limit": 2, "totalPages": 2}
    assert client.get(PATH, {"page": 9}).json()["data"] == []


def test_it_leaves_deleted_nodes_out(client):
    NodeFactory(deleted_at="2025-12-03T10:00:00Z")
    assert client.get(PATH).json()["data"] == []


@pytest.mark.parametrize("operator", [False, True])
def test_it_asks_the_database_as_often_for_one_node_as_for_many(client_of, operator):
    client = client_of(OperatorFactory() if operator else UserFactory())

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get(PATH).status_code == 200
        return len(captured)

    GpuFactory(node=NodeFactory())
    once = queries()
    for _ in range(5):
        node = NodeFactory()
        for n in range(3):
            GpuFactory(node=node, device_id=f"GPU-{n}")
        claims.take_gpus("c" * 24, "", node.id, ["GPU-1"])
    assert queries() == once
    assert once <= (5 if operator else 4)


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=101", "limit"), ("page=x", "page"), ("colour=red", "colour")]
)
def test_it_refuses_what_it_does_not_know(client, query, field):
    answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


def test_it_wants_a_token(db):
    assert APIClient().get(PATH).status_code == 401
