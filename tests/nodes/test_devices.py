"""GPUs and addresses that domains have which no VM accounts for are given to no VM."""

import pytest
from django.db import transaction

from common.errors import Conflict
from nodes import claims, devices, strays
from nodes.models import Gpu, Node, StrayAddress
from resources.recount import recount
from tasks.models import Task, TaskStatus
from tasks.worker import drain
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory
from tests.nodes.beside import ONE_WRITES, beside
from tests.nodes.keeping import keeping
from vmbackends.base import Devices
from vmbackends.errors import NodeUnreachable, Refused
from vmbackends.pci import PciAddress

pytestmark = pytest.mark.django_db

NOBODY = "692cdc80aabbccddee000001"
STRAYS = {
    "foreign": ["somebodys"],
    "orphans": {NOBODY: [f"vm-{NOBODY}", f"vm-{NOBODY}.qcow2"], "692cdc80aabbccddee000002": ["seed.iso"]},
}


@pytest.fixture
def backend():
    with keeping() as backend:
        yield backend


@pytest.fixture
def node():
    node = NodeFactory(name="worker-01", strays=STRAYS)
    for n, address in enumerate(("0000:3b:00.0", "00000000:AF:00.0", "0000:d8:00.0", "none")):
        GpuFactory(node=node, device_id=f"GPU-{n}", pci_address=address)
    return node


def theirs():
    return dict(Gpu.objects.order_by("device_id").values_list("device_id", "stray_domain"))


def look(node):
    devices.look_soon(node)
    drain()
    return Task.objects.latest("created_at")


def test_it_asks_for_domains_that_are_no_vms_and_writes_down_what_they_have(backend, node):
    vm = VirtualMachineFactory(node=node, status="running")
    VirtualMachineFactory(status="running")  # elsewhere
    backend.devices = {
        PciAddress("0000", "3b", "00", "1"): "somebodys",  # another function of the board
        PciAddress("0000", "af", "00", "0"): f"vm-{NOBODY}",
        PciAddress("0001", "d8", "00", "0"): "somebodys",  # a board of another PCI domain
    }
    task = look(node)
    assert (task.status, task.node_id, task.org_id) == (TaskStatus.SUCCEEDED, node.id, None)
    assert backend.asked == [[vm.id]]
    assert theirs() == {"GPU-0": "somebodys", "GPU-1": f"vm-{NOBODY}", "GPU-2": "", "GPU-3": ""}


def test_a_vm_that_came_there_while_the_node_was_asked_is_nobodys_neither(backend, node, monkeypatch):
    seen = iter([["a"], ["a", "b"], ["a", "b"]])
    monkeypatch.setattr(devices.use, "vms_on", lambda _: next(seen))
    devices.ask(node)
    assert [sorted(asked) for asked in backend.asked] == [["a"], ["a", "b"]]


def test_a_look_that_is_refused_is_taken_later(backend, node):
    backend.refusals["worker-01"] = Refused("No.")
    assert look(node).is_open
    backend.refusals.clear()
    backend.devices = {PciAddress("0000", "3b", "00", "0"): "somebodys"}
    Task.objects.update(not_before=None)
    drain()
    assert theirs()["GPU-0"] == "somebodys"


def test_a_gpu_is_free_again_when_the_domain_has_it_no_more_or_is_gone(backend, node):
    Gpu.objects.filter(device_id__in=("GPU-0", "GPU-1")).update(stray_domain="somebodys")
    backend.devices = {PciAddress("0000", "af", "00", "0"): "somebodys"}
    look(node)
    assert [name for name, domain in theirs().items() if domain] == ["GPU-1"]
    backend.devices = {}
    look(node)
    assert not any(theirs().values())


def test_a_refresh_looks_as_well(backend, node, client_of):
    backend.devices = {PciAddress("0000", "3b", "00", "0"): "somebodys"}
    client_of(OperatorFactory()).post(f"/resources/nodes/{node.id}/refresh")
    drain()
    assert theirs()["GPU-0"] == "somebodys"


def test_gpus_that_an_operator_names_are_looked_for_at_once(backend, client_of):
    node = NodeFactory(name="worker-01", strays=STRAYS)
    gpu = {"deviceId": "GPU-0", "model": "NVIDIA L40S", "memoryMB": 46_068, "pciAddress": "0000:3b:00.0"}
    backend.devices = {PciAddress("0000", "3b", "00", "0"): "somebodys"}
    answer = client_of(OperatorFactory()).patch(f"/resources/nodes/{node.id}", {"gpus": [gpu]}, format="json")
    assert answer.status_code == 200, answer.json()
    drain()
    assert theirs() == {"GPU-0": "somebodys"}


def test_one_task_waits_for_a_node(node):
    other = NodeFactory(strays=STRAYS)
    for asked in (node, other, node):
        devices.look_soon(asked)
    assert list(Task.objects.order_by("id").values_list("subject_id", flat=True)) == [node.id, other.id]


def test_it_waits_for_a_node_that_is_out_of_reach(backend, node):
    backend.refusals["worker-01"] = NodeUnreachable("worker-01 is off.")
    task = look(node)
    assert (task.is_open, task.lease_until, task.deadline_at) == (True, None, None)


def test_it_does_nothing_for_a_node_deleted_meanwhile(backend, node):
    devices.look_soon(node)
    Node.objects.filter(pk=node.pk).update(deleted_at="2026-01-01T00:00:00Z")
    drain()
    assert Task.objects.get().status == TaskStatus.SUCCEEDED
    assert backend.asked == []


def test_the_api_says_that_it_cannot_be_had_and_names_no_domain(node, client_of):
    Gpu.objects.filter(device_id="GPU-0").update(stray_domain="somebodys")
    answer = client_of(UserFactory()).get(f"/resources/nodes/{node.id}")
    gpus = {gpu["deviceId"]: gpu for gpu in answer.json()["gpus"]}
    assert [name for name, gpu in gpus.items() if gpu["available"]] == ["GPU-1", "GPU-2", "GPU-3"]
    assert {profile["free"] for profile in gpus["GPU-0"]["migProfiles"]} == {0}
    assert "somebodys" not in answer.content.decode()


# Addresses

VM = "692cdc80aabbccddee0000aa"


def take(segment="default", vlan_id=100, address="10.0.0.5", vm_id=VM):
    claims.take_address(vm_id, "", segment, vlan_id, address)


def may_be_taken(**network):
    try:
        with transaction.atomic():
            take(**network)
            raise Conflict("not really taken")
    except Conflict as e:
        return e.message == "not really taken"


def test_an_address_is_given_to_no_vm_while_such_a_domain_of_its_network_has_it(backend, node):
    backend.addresses = {(100, "10.0.0.5"): "somebodys", (0, "10.0.0.6"): f"vm-{NOBODY}"}
    look(node)
    with pytest.raises(Conflict, match=r"^The address 10\.0\.0\.5 of VLAN 100 is taken by another VM\."):
        take()
    assert not may_be_taken(vlan_id=None, address="10.0.0.6")
    assert may_be_taken(vlan_id=None)
    assert may_be_taken(segment="elsewhere")
    assert recount() == []

    backend.addresses = {(0, "10.0.0.6"): "somebodys"}
    look(node)
    take()
    assert not may_be_taken(vlan_id=None, address="10.0.0.6")
    assert StrayAddress.objects.get().domain == "somebodys"


def test_an_address_that_a_vm_and_such_a_domain_have_stays_the_vms_until_it_gives_it_back(backend, node):
    take()
    backend.addresses = {(100, "10.0.0.5"): "somebodys", (0, "10.0.0.6"): "somebodys"}
    look(node)
    assert list(strays.sentences(node))[-2:] == [
        "Addresses that are given to no VM while such domains have them: 10.0.0.6 (somebodys), "
        "10.0.0.5 of VLAN 100 (somebodys).",
        f"10.0.0.5 of VLAN 100 is the address of the VM {VM}, and of the domain somebodys here as well. Only one of "
        "the two can be reached: change the VM's address, or remove the domain.",
    ]
    claims.give_back_address(VM)
    assert not may_be_taken()
    take(address="10.0.0.7")
    claims.give_back(VM)
    assert may_be_taken(address="10.0.0.7")
    assert not may_be_taken()


def test_two_nodes_on_one_switch_may_have_such_domains_of_one_address(backend, node):
    backend.addresses = {(100, "10.0.0.5"): "somebodys"}
    other = NodeFactory(strays=STRAYS)
    look(node)
    look(other)
    backend.addresses = {}
    look(node)
    assert not may_be_taken()
    look(other)
    assert may_be_taken()


def test_it_goes_with_its_node(backend, node, client_of):
    operator = client_of(OperatorFactory())
    backend.addresses = {(100, "10.0.0.5"): "somebodys"}
    look(node)
    path = f"/resources/nodes/{node.id}"
    for change in ({"enabled": False}, {"segment": "elsewhere"}):
        assert operator.patch(path, change, format="json").status_code == 200
    assert (may_be_taken(), may_be_taken(segment="elsewhere")) == (True, False)
    assert operator.delete(path).status_code == 200
    assert may_be_taken(segment="elsewhere")
    assert not StrayAddress.objects.exists()


def test_whose_networks_they_are_on_is_looked_at_anew_where_its_bridges_are_others(backend, node, client_of):
    answer = client_of(OperatorFactory()).patch(
        f"/resources/nodes/{node.id}", {"untaggedBridge": "br1", "hostname": "n"}, format="json"
    )
    assert answer.status_code == 200
    drain()
    assert len(backend.asked) == 1
    client_of(OperatorFactory()).patch(f"/resources/nodes/{node.id}", {"hostname": "m"}, format="json")
    drain()
    assert len(backend.asked) == 1


@pytest.mark.django_db(transaction=True)
@ONE_WRITES
@pytest.mark.parametrize("last", ["look", "give back"])
def test_an_address_that_is_given_back_as_it_is_seen_at_such_a_domain_is_not_free(node, last):
    take()
    seen = Devices({}, {(100, "10.0.0.5"): "somebodys"})
    first, second = (claims.give_back, VM), (devices.write_down, node, seen)
    if last == "give back":
        first, second = second, first
    assert_ends_held(first, second)


@pytest.mark.django_db(transaction=True)
@ONE_WRITES
@pytest.mark.parametrize("last", ["comes", "goes"])
def test_an_address_whose_domain_moves_from_one_node_to_another_is_not_free(node, last):
    other = NodeFactory()
    devices.write_down(other, Devices({}, {(100, "10.0.0.5"): "somebodys"}))
    comes = (devices.write_down, node, Devices({}, {(100, "10.0.0.5"): "somebodys"}))
    goes = (devices.write_down, other, Devices({}, {}))
    assert_ends_held(*((goes, comes) if last == "comes" else (comes, goes)))


def assert_ends_held(first, second):
    """Where the second is done while the first's transaction is open."""
    beside(lambda: first[0](*first[1:]), lambda: second[0](*second[1:]))
    assert recount() == []
    assert not may_be_taken()


def test_an_address_of_a_vm_that_is_on_another_node_is_no_stray_for_its_own_domain(backend, node):
    backend.addresses = {(100, "10.0.0.5"): f"vm-{VM}"}
    take()
    look(node)
    assert not any("10.0.0.5" in sentence for sentence in strays.sentences(node))


def test_of_many_addresses_the_first_are_told(backend, node):
    backend.addresses = {(0, f"10.0.0.{n}"): "somebodys" for n in range(1, 24)}
    look(node)
    assert list(strays.sentences(node))[-1].endswith(" and 3 more.")
