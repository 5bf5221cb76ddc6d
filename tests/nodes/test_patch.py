import pytest

from accounts.models import AuditEntry, Role
from nodes import claims, room
from nodes.models import Gpu, Node
from nodes.room import Room
from tests.factories import NodeFactory, OperatorFactory, UserFactory
from tests.nodes import bodies

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_of):
    return client_of(OperatorFactory())


@pytest.fixture
def node(client):
    node_id = client.post("/resources/nodes", bodies.node(), format="json").json()["_id"]
    return Node.objects.get(pk=node_id)


def patch(client, node, body, **headers):
    return client.patch(f"/resources/nodes/{node.id}", body, format="json", headers=headers)


def test_it_changes_what_the_body_names_and_nothing_else(client, node):
    answer = patch(client, node, {"capacity": {"ramMB": 1_000}, "hostname": "elsewhere"})
    assert answer.status_code == 200
    assert answer.json()["capacity"] == {"vcpus": 128, "ramMB": 1_000, "diskGB": 8_000}
    after = Node.objects.get(pk=node.pk)
    assert after.hostname == "elsewhere"
    for name in ("name", "segment", "uri", "enabled", "cap_vcpus", "vcpu_overcommit"):
        assert getattr(after, name) == getattr(node, name)
    assert (after.gpus.count(), after.images.count()) == (2, 2)
    assert after.version == 2
    assert answer.headers["ETag"] == '"2"'


def test_it_writes_an_audit_entry(client, node):
    patch(client, node, {"enabled": False})
    entry = AuditEntry.objects.get(action="node.update")
    assert (entry.before["enabled"], entry.after["enabled"]) == (True, False)


def test_it_puts_a_node_in_maintenance_and_back(client, node):
    assert patch(client, node, {"enabled": False}).json()["status"] == "maintenance"
    assert patch(client, node, {"enabled": True}).json()["status"] == "offline"


def test_it_marks_a_node_lost_and_keeps_it_in_maintenance_when_it_is_back(client, node):
    """Until it was looked at: see `test_lost.py`."""
    assert patch(client, node, {"lost": True}).json()["status"] == "lost"
    answer = patch(client, node, {"enabled": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert patch(client, node, {"lost": False}).json()["status"] == "maintenance"


def test_it_leaves_a_node_alone_that_was_never_lost(client, node):
    assert patch(client, node, {"lost": False}).json()["status"] == "offline"


@pytest.mark.parametrize("lost", [True, False])
def test_it_refuses_lost_and_enabled_in_one(client, node, lost):
    answer = patch(client, node, {"lost": lost, "enabled": True})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "enabled"


def test_it_removes_the_uri(client, node):
    assert patch(client, node, {"uri": None}).json()["uri"] == ""


@pytest.mark.parametrize("name", ["name", "hostname", "segment", "enabled", "capacity", "gpus", "osImages", "lost"])
def test_it_removes_nothing_else(client, node, name):
    answer = patch(client, node, {name: None})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == name


def test_it_replaces_images(client, node):
    assert patch(client, node, {"osImages": ["centos-7", "debian-12"]}).json()["osImages"] == ["centos-7", "debian-12"]
    assert patch(client, node, {"osImages": []}).json()["osImages"] == []


def test_it_replaces_gpus_and_keeps_those_that_stay(client, node):
    kept = Gpu.objects.get(node=node, device_id="GPU-1")
    answer = patch(client, node, {"gpus": [bodies.gpu(1, use="mig"), bodies.gpu(2)]})
    assert [gpu["deviceId"] for gpu in answer.json()["gpus"]] == ["GPU-1", "GPU-2"]
    kept.refresh_from_db()
    assert kept.use == "mig"


@pytest.mark.parametrize(
    "gpus",
    [
        [bodies.gpu(1, use="passthrough")],
        [bodies.gpu(0, use="passthrough"), bodies.gpu(1, use="passthrough")],
        [bodies.gpu(0, memoryMB=81_920), bodies.gpu(1, use="passthrough")],
        [bodies.gpu(0, pciAddress="0000:99:00.0"), bodies.gpu(1, use="passthrough")],
    ],
    ids=["removed", "other use", "other board", "elsewhere"],
)
def test_it_refuses_to_change_a_gpu_that_a_vm_holds(client, node, gpus):
    claims.take_mig("c" * 24, "", node.id, "1g.5gb")
    answer = patch(client, node, {"gpus": gpus, "hostname": "elsewhere"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["detail"] == "GPU-0 is held by a VM and cannot be changed or removed."
    assert Gpu.objects.filter(node=node, device_id="GPU-0", use="mig", memory_mb=40_960).exists()
    assert Node.objects.get(pk=node.pk).hostname == node.hostname


def test_it_takes_the_same_gpus_again_while_a_vm_holds_one(client, node):
    claims.take_mig("c" * 24, "", node.id, "1g.5gb")
    answer = patch(client, node, {"gpus": [bodies.gpu(0), bodies.gpu(1, use="mig")]})
    assert answer.status_code == 200


def test_it_moves_a_node_to_another_segment_empty_and_in_maintenance_only(client, node):
    assert patch(client, node, {"segment": "hall-3"}).status_code == 409
    room.reserve(node.id, Room(1, 1, 1))
    patch(client, node, {"enabled": False})
    assert patch(client, node, {"segment": "hall-3"}).status_code == 409
    room.give_back(node.id, Room(1, 1, 1))
    assert patch(client, node, {"segment": "hall-3"}).json()["segment"] == "hall-3"


def test_it_lowers_a_capacity_below_what_is_promised(client, node):
    room.reserve(node.id, Room(10, 1000, 100))
    answer = patch(client, node, {"capacity": {"ramMB": 10}})
    assert answer.json()["free"]["ramMB"] == 0


def test_it_refuses_a_name_that_is_taken(client, node):
    NodeFactory(name="worker-01")
    assert patch(client, node, {"name": "worker-01"}).json()["code"] == "conflict"
    assert patch(client, node, {"name": node.name}).status_code == 200


def test_it_honours_if_match(client, node):
    assert patch(client, node, {"hostname": "a"}, **{"If-Match": '"1"'}).status_code == 200
    answer = patch(client, node, {"hostname": "b"}, **{"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert Node.objects.get(pk=node.pk).hostname == "a"
    assert patch(client, node, {"hostname": "c"}, **{"If-Match": '"x"'}).status_code == 412
    assert patch(client, node, {"hostname": "d"}, **{"If-Match": '"1", "2"'}).status_code == 200


@pytest.mark.parametrize("role", Role.values)
def test_it_is_for_operators_alone(client_of, node, role):
    assert patch(client_of(UserFactory(role=role)), node, {"enabled": False}).status_code == 403
    assert Node.objects.get(pk=node.pk).enabled


def test_it_reads_an_operators_flag_again(client_of, node):
    """The token says operator, and the account no longer does."""
    user = OperatorFactory()
    client = client_of(user)
    user.is_staff = False
    user.save(update_fields=["is_staff"])
    assert patch(client, node, {"enabled": False}).status_code == 403


@pytest.mark.parametrize("body", [[], "x", 1])
def test_it_wants_an_object(client, node, body):
    assert client.patch(f"/resources/nodes/{node.id}", body, format="json").status_code == 400


def test_it_refuses_unknown_fields(client, node):
    answer = patch(client, node, {"used_vcpus": 0, "online": True})
    assert {(e["field"], e["code"]) for e in answer.json()["errors"]} == {
        ("used_vcpus", "unknown_field"), ("online", "unknown_field"),
    }  # fmt: skip


@pytest.mark.parametrize("node_id", ["f" * 24, "x"])
def test_it_knows_no_other_node(client, node_id):
    assert client.patch(f"/resources/nodes/{node_id}", {"enabled": False}, format="json").status_code == 404


# How VMs are put on it


def test_it_changes_how_vms_are_put_on_it(client, node):
    settings = {
        "bridge": "br-{vlan}", "untaggedBridge": "br-0", "openvswitch": False, "domainType": None, "cpuMode": None
    }  # fmt: skip
    answer = patch(client, node, settings)
    assert answer.status_code == 200, answer.json()
    assert {name: answer.json()[name] for name in settings} == settings
    entry = AuditEntry.objects.get(action="node.update")
    assert (entry.before["cpuMode"], entry.after["cpuMode"]) == ("host-passthrough", "")
    assert (entry.before["bridge"], entry.after["bridge"]) == ("ovs-br0", "br-{vlan}")


def test_it_refuses_a_bridge_that_would_mix_vlans(client, node):
    body = {"bridge": "br0", "openvswitch": False}
    assert patch(client, node, body).json()["errors"][0]["field"] == "bridge"
    answer = patch(client, node, {"openvswitch": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "each VLAN has a bridge of its own" in answer.json()["detail"]
    assert patch(client, node, {"bridge": "br{vlan}"}).status_code == 409
    assert patch(client, node, {"bridge": "ovs1"}).status_code == 200


def test_it_refuses_one_that_another_change_meanwhile_would_make_so(client, node, monkeypatch):
    from nodes import actions

    refuse = actions._refuse_together

    def slower(row, columns):
        refuse(row, columns)
        Node.objects.filter(pk=node.pk).update(openvswitch=False, bridge="br{vlan}")

    monkeypatch.setattr(actions, "_refuse_together", slower)
    assert patch(client, node, {"bridge": "ovs1"}).status_code == 409
    assert Node.objects.get(pk=node.pk).bridge != "ovs1"


def test_it_changes_the_pool_without_vms_alone(client, node):
    assert patch(client, node, {"enabled": False}).status_code == 200
    Node.objects.filter(pk=node.pk).update(used_disk_gb=10)
    answer = patch(client, node, {"pool": "other"})
    assert (answer.status_code, answer.json()["detail"]) == (
        409, "The pool of worker-gpu-07 can be changed in maintenance and without VMs only.",
    )  # fmt: skip
    assert patch(client, node, {"pool": "fast"}).status_code == 200
    Node.objects.filter(pk=node.pk).update(used_disk_gb=0)
    assert patch(client, node, {"pool": "other"}).status_code == 200
