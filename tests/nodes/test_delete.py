import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Role
from nodes import room
from nodes.models import Gpu, Node, NodeImage
from nodes.room import Room
from resources.models import VirtualMachine
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_of):
    return client_of(OperatorFactory())


def delete(client, node, **headers):
    return client.delete(f"/resources/nodes/{node.id}", headers=headers)


def test_it_deletes_an_empty_node(client):
    node = NodeFactory(name="worker-01")
    GpuFactory(node=node)
    answer = delete(client, node)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Node deleted successfully"})
    assert client.get(f"/resources/nodes/{node.id}").status_code == 404
    assert not Gpu.objects.exists()
    assert not NodeImage.objects.exists()
    entry = AuditEntry.objects.get(action="node.delete")
    assert (entry.object_id, entry.before["name"], entry.after) == (node.id, "worker-01", None)
    assert len(entry.before["gpus"]) == 1
    assert delete(client, node).status_code == 404


def test_it_frees_the_name(client):
    delete(client, NodeFactory(name="worker-01"))
    assert NodeFactory(name="worker-01").status == "online"


@pytest.mark.parametrize("deleted_at", [None, timezone.now()], ids=["there", "being removed"])
def test_it_keeps_a_node_with_vms(client, deleted_at):
    node = NodeFactory(name="worker-01")
    VirtualMachineFactory(node=node, deleted_at=deleted_at)
    answer = delete(client, node)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "VMs are on worker-01" in answer.json()["detail"]
    assert Node.objects.filter(pk=node.pk).exists()
    assert NodeImage.objects.filter(node=node).exists()


def test_it_deletes_a_node_whose_vms_are_gone(client):
    """Their rows still name it."""
    vm = VirtualMachineFactory(deleted_at=timezone.now())
    room.give_back(vm.node_id, Room(vm.vcpus, vm.ram_mb, vm.disk_gb))
    assert delete(client, vm.node).status_code == 200
    assert VirtualMachine.objects.select_related("node").get(pk=vm.pk).node.id == vm.node_id


def test_it_loses_a_race_with_a_new_vm(client, monkeypatch):
    from nodes import actions

    node = NodeFactory()
    find = actions.find_node

    def slower(node_id):
        found = find(node_id)
        room.reserve(node_id, Room(1, 512, 10))
        return found

    monkeypatch.setattr(actions, "find_node", slower)
    assert delete(client, node).status_code == 409


def test_it_takes_no_body(client):
    node = NodeFactory()
    answer = client.delete(f"/resources/nodes/{node.id}", {"force": True}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "force")
    assert delete(client, node).status_code == 200


def test_it_honours_if_match(client):
    node = NodeFactory(version=3)
    assert delete(client, node, **{"If-Match": '"2"'}).status_code == 412
    assert delete(client, node, **{"If-Match": '"3"'}).status_code == 200


@pytest.mark.parametrize("role", Role.values)
def test_it_is_for_operators_alone(client_of, role):
    assert delete(client_of(UserFactory(role=role)), NodeFactory()).status_code == 403
    assert delete(client_of(UserFactory(role=role)), NodeFactory(), **{"If-Match": "x"}).status_code == 403


@pytest.mark.parametrize("node_id", ["f" * 24, "x"])
def test_it_knows_no_other_node(client, node_id):
    assert client.delete(f"/resources/nodes/{node_id}").status_code == 404
