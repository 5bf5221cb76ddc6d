import pytest

from accounts.models import AuditEntry, Role
from nodes import claims
from nodes import refresh as refreshing
from nodes.models import Gpu, Node, NodeImage
from nodes.refresh import write_down
from tasks.models import Task, TaskStatus
from tasks.worker import drain
from tests.factories import GpuFactory, ImageFactory, NodeFactory, OperatorFactory, UserFactory
from tests.nodes.keeping import keeping
from vmbackends.base import GpuReport, ImageReport, NodeReport
from vmbackends.errors import NodeUnreachable

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_of):
    return client_of(OperatorFactory())


def refresh(client, node):
    return client.post(f"/resources/nodes/{node.id}/refresh")


def test_it_answers_with_a_task_that_asks_the_node(client):
    node = NodeFactory(online=False, last_seen=None, images=[])
    answer = refresh(client, node)
    task = Task.objects.get()
    assert (answer.status_code, answer.json()) == (
        202, {"success": True, "message": "Node refresh started", "taskId": task.public_id},
    )  # fmt: skip
    assert (task.subject_id, task.org_id) == (node.id, None)
    assert AuditEntry.objects.filter(action="node.refresh", object_id=node.id).exists()
    drain()
    task.refresh_from_db()
    assert task.status == TaskStatus.SUCCEEDED, task.error
    after = Node.objects.get(pk=node.pk)
    assert after.status == "online"
    assert after.last_seen is not None
    assert NodeImage.objects.filter(node=node).count() == 8


def test_an_older_probe_keeps_no_newer_one_from_finding_better(client):
    node = NodeFactory(images=(), probed_domain_type="qemu", probed_cpu_mode="qemu64", cpu_mode="maximum")
    with keeping() as backend:
        backend.report = {"domain_type": "kvm", "cpu_mode": "maximum"}
        refresh(client, node)
        drain()
    assert [(ref.settings.domain_type, ref.settings.cpu_mode) for ref in backend.probed] == [("", "maximum")]
    assert Node.objects.get(pk=node.pk).probed_domain_type == "kvm"


def test_it_says_when_the_node_is_out_of_reach(client):
    node = NodeFactory(name="worker-03")  # which the mock takes for down
    refresh(client, node)
    drain()
    task = Task.objects.get()
    assert (task.status, task.error) == (TaskStatus.FAILED, "worker-03 cannot be reached.")
    assert Node.objects.get(pk=node.pk).status == "offline"


def test_one_that_is_too_busy_is_not_taken_for_one_that_is_away(client):
    with keeping() as backend:
        backend.refusals["worker-01"] = NodeUnreachable("Node worker-01 is too busy to tell.", busy=True)
        refresh(client, NodeFactory(name="worker-01", online=True))
        drain()
    assert Task.objects.get().error == "worker-01 is too busy."
    assert Node.objects.get().online


def test_it_gives_the_same_task_while_one_waits(client):
    node = NodeFactory()
    assert refresh(client, node).json() == refresh(client, node).json()
    drain()
    refresh(client, node)
    assert Task.objects.count() == 2


def test_it_takes_no_body(client):
    answer = client.post(f"/resources/nodes/{NodeFactory().id}/refresh", {"deep": True}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "deep")
    assert not Task.objects.exists()


def test_it_leaves_a_lost_node_alone(client):
    answer = refresh(client, NodeFactory(name="worker-01", lost=True, enabled=False))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert not Task.objects.exists()


def test_it_does_nothing_for_a_node_deleted_meanwhile(client):
    node = NodeFactory()
    refresh(client, node)
    client.delete(f"/resources/nodes/{node.id}")
    drain()
    assert Task.objects.get().status == TaskStatus.SUCCEEDED


@pytest.mark.parametrize("role", Role.values)
def test_it_is_for_operators_alone(client_of, role):
    assert refresh(client_of(UserFactory(role=role)), NodeFactory()).status_code == 403
    assert not Task.objects.exists()


@pytest.mark.parametrize("node_id", ["f" * 24, "x"])
def test_it_knows_no_other_node(client, node_id):
    assert client.post(f"/resources/nodes/{node_id}/refresh").status_code == 404


# What is written down


def test_it_changes_only_what_the_report_knows():
    node = NodeFactory(cap_vcpus=4, cap_ram_mb=100, cap_disk_gb=10, images=["debian-12"])
    GpuFactory(node=node)
    write_down(node, NodeReport(boot_id="boot-1", vcpus=64))
    after = Node.objects.get(pk=node.pk)
    assert (after.cap_vcpus, after.cap_ram_mb, after.cap_disk_gb) == (64, 100, 10)
    assert list(after.images.values_list("os_image", flat=True)) == ["debian-12"]
    assert after.gpus.get().present
    assert after.boot_id == "boot-1"


def test_it_notes_what_the_node_runs_vms_with():
    node = NodeFactory(domain_type="qemu")
    versions = {"libvirt": "9.0.0", "qemu": "7.2.9"}
    probed = {"domain_type": "kvm", "cpu_mode": "host-model", "capabilities": ("uefi",)}
    write_down(node, NodeReport(boot_id="x", versions=versions, **probed))
    after = Node.objects.get(pk=node.pk)
    assert after.capabilities == ["uefi"]
    assert (after.probed_domain_type, after.probed_cpu_mode, after.hypervisor) == ("kvm", "host-model", versions)
    assert after.domain_type == "qemu"


def test_it_has_the_kept_images_that_are_there_with_all_their_bytes():
    node = NodeFactory(images=["ubuntu-20.04"])
    whole, half, gone = (ImageFactory(os_image=name) for name in ("debian-12", "debian-11", "centos-8"))
    images = (
        ImageReport(whole.volume, whole.size_bytes),
        ImageReport(half.volume, half.size_bytes - 1),
        ImageReport("of-somebody-else.qcow2", gone.size_bytes),
    )
    write_down(node, NodeReport(boot_id="x", images=images))
    assert list(node.images.values_list("os_image", flat=True)) == ["debian-12"]
    write_down(node, NodeReport(boot_id="x", images=()))
    assert not node.images.exists()


def test_it_leaves_a_reboot_for_the_sweep_to_find():
    node = NodeFactory(boot_id="boot-1")
    write_down(node, NodeReport(boot_id="boot-2"))
    assert Node.objects.get(pk=node.pk).boot_id == "boot-1"


def test_it_notes_gpus_that_came_went_and_are_others_now():
    node = NodeFactory()
    for n in range(3):
        GpuFactory(node=node, device_id=f"GPU-{n}")
    held_model = Gpu.objects.get(node=node, device_id="GPU-2").model
    claims.take_gpus("c" * 24, "", node.id, ["GPU-2"])
    reports = tuple(GpuReport(f"GPU-{n}", "NVIDIA H100", 81_559, f"0000:0{n}:00.0") for n in (1, 2, 3))
    write_down(node, NodeReport(boot_id="x", gpus=reports))
    seen = {gpu.device_id: (gpu.present, gpu.model, gpu.use) for gpu in Gpu.objects.filter(node=node)}
    assert seen == {
        "GPU-0": (False, held_model, "either"),
        "GPU-1": (True, "NVIDIA H100", "either"),
        "GPU-2": (True, held_model, "either"),  # a VM holds it: it is left as it is, and the log says so
        "GPU-3": (True, "NVIDIA H100", "passthrough"),
    }
    write_down(node, NodeReport(boot_id="x", gpus=(GpuReport("GPU-0", held_model, 40_960, "0000:00:00.0"),)))
    assert Gpu.objects.get(node=node, device_id="GPU-0").present


def test_it_is_registered():
    from tasks.registry import registry

    assert registry.types[refreshing.REFRESH] is refreshing.TASK
    assert registry.unreachable_nodes() == set()
