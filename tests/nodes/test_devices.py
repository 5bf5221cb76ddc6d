"""GPUs that are devices of domains which no VM accounts for are given to no VM."""

import pytest

from nodes import devices
from nodes.models import Gpu, Node
from tasks.models import Task, TaskStatus
from tasks.worker import drain
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory
from tests.nodes.keeping import keeping
from vmbackends.errors import NodeUnreachable
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


def test_one_task_waits_and_none_for_a_node_without_gpus(node):
    devices.look_soon(node)
    devices.look_soon(node)
    devices.look_soon(NodeFactory(strays=STRAYS))
    assert list(Task.objects.values_list("subject_id", flat=True)) == [node.id]


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
