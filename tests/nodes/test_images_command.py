"""`manage.py images`"""

import errno
import os
import signal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import AuditEntry
from nodes import image_actions, image_files
from nodes.images import use
from nodes.models import Image, Node, NodeImage
from resources.config import MAX_DISK_GB, OsImage
from resources.states import Status
from tasks.models import Task, TaskStatus
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory
from tests.nodes.keeping import keeping, qcow2_disk, raw_disk
from vmbackends.errors import NodeUnreachable, Refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("AIWM_USER", "root")
    settings.IMAGES_DIR = tmp_path / "images"
    return settings.IMAGES_DIR


@pytest.fixture(autouse=True)
def operator():
    return OperatorFactory(username="root")


@pytest.fixture
def backend():
    with keeping() as backend:
        yield backend


@pytest.fixture
def disk(tmp_path):
    return qcow2_disk(tmp_path / "disk.qcow2")


def images(*arguments):
    out = StringIO()
    call_command("images", *map(str, arguments), stdout=out)
    return out.getvalue()


def refusal(*arguments):
    with pytest.raises(CommandError) as caught:
        images(*arguments)
    return str(caught.value)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# import


def test_it_imports_an_image(disk, folder, operator):
    printed = images("import", "debian-12", disk)
    image = Image.objects.get()
    assert image.volume == f"image-debian-12-{image.sha256[:12]}.qcow2"
    assert files(folder) == [image.volume]
    assert (folder / image.volume).read_bytes() == disk.read_bytes()
    assert (image.size_bytes, image.virtual_bytes) == (disk.stat().st_size, 3 * 1024**2)
    assert (image.firmware, image.device_model, image.tpm, image.ready) == ("bios", "virtio", False, "cloud-init")
    assert image.sha256 in printed
    assert "a disk of 3.0 MB, bios virtio, ready by cloud-init on the serial console" in printed
    entry = AuditEntry.objects.get(action="image.import")
    assert (entry.actor_id, entry.via, entry.object_type, entry.object_id) == (
        operator.id, "command", "image", image.id,
    )  # fmt: skip
    assert (entry.before, entry.after["volume"]) == (None, image.volume)


def test_it_runs_windows_on_what_it_has_drivers_for(disk):
    images("import", "windows-server-2022", disk, "--firmware", "uefi", "--tpm")
    image = Image.objects.get()
    assert (image.firmware, image.device_model, image.tpm, image.ready) == ("uefi", "sata", True, "power")


def test_it_imports_a_raw_disk(tmp_path, folder):
    images("import", "debian-12", raw_disk(tmp_path / "disk.img"), "--format", "raw")
    (name,) = files(folder)
    assert (folder / name).read_bytes().startswith(b"QFI\xfb")


def test_it_replaces_an_image_by_a_newer_one(disk, folder, tmp_path):
    node = NodeFactory(images=["debian-12", "debian-11"])
    images("import", "debian-12", disk, "--ready", "power")
    older = Image.objects.get()
    assert node.images.count() == 2
    images("import", "debian-12", qcow2_disk(tmp_path / "newer.qcow2", b"newer"))
    newer = Image.objects.get()
    assert newer.pk == older.pk
    assert newer.volume != older.volume
    assert newer.ready == "power"  # what is not said stays
    assert files(folder) == [newer.volume]
    assert list(node.images.values_list("os_image", flat=True)) == ["debian-11"]  # until it is pushed
    entry = AuditEntry.objects.filter(action="image.import").latest("at")
    assert (entry.before["volume"], entry.after["volume"]) == (older.volume, newer.volume)


def test_it_takes_the_same_file_again(disk, folder):
    node = NodeFactory(images=["debian-12"])
    images("import", "debian-12", disk)
    images("import", "debian-12", disk, "--ready", "agent", "--tpm")
    image = Image.objects.get()
    assert (image.ready, image.tpm) == ("agent", True)
    assert files(folder) == [image.volume]
    assert node.images.exists()


@pytest.mark.parametrize("change", [("--firmware", "uefi"), ("--device-model", "sata"), ("--tpm",)])
def test_it_changes_nothing_that_deployed_vms_would_not_bear(disk, folder, change):
    images("import", "ubuntu-22.04", disk)
    before = Image.objects.values().get()
    VirtualMachineFactory(status=Status.STOPPED)
    assert "cannot be changed: 1 deployed VMs were installed with it." in refusal(
        "import", "ubuntu-22.04", disk, *change
    )
    assert Image.objects.values().get() == before
    assert files(folder) == [before["volume"]]
    images("import", "ubuntu-22.04", disk, "--ready", "agent", "--no-tpm", "--firmware", "bios")


def test_vms_that_were_never_deployed_mind_nothing(disk):
    images("import", "ubuntu-22.04", disk)
    VirtualMachineFactory(status=Status.QUEUED)
    images("import", "ubuntu-22.04", disk, "--firmware", "uefi")
    assert Image.objects.get().firmware == "uefi"


def test_a_vm_that_is_deployed_meanwhile_is_seen(disk, folder, tmp_path, monkeypatch):
    images("import", "ubuntu-22.04", disk)
    kept = files(folder)
    counts = iter([0, 1])
    monkeypatch.setattr(use, "deployed", lambda os_image: next(counts))
    newer = qcow2_disk(tmp_path / "newer.qcow2", b"newer")
    assert "1 deployed VMs" in refusal("import", "ubuntu-22.04", newer, "--firmware", "uefi")
    assert files(folder) == kept


def test_it_leaves_no_file_where_the_database_fails(disk, folder, monkeypatch):
    def fail(*args):
        raise RuntimeError("gone")

    monkeypatch.setattr(image_actions, "_record", fail)
    with pytest.raises(RuntimeError):
        images("import", "debian-12", disk)
    assert files(folder) == []


def test_it_knows_the_images_that_a_vm_may_be_made_of(disk, folder):
    assert use.names == tuple(OsImage)
    message = refusal("import", "plan-9", disk)
    assert "There is no OS image 'plan-9'. There are: ubuntu-22.04, " in message
    assert not folder.exists()


def test_it_says_why_a_file_is_none_and_keeps_that_it_was_tried(tmp_path):
    raw = raw_disk(tmp_path / "disk.img")
    assert "is no qcow2 file" in refusal("import", "debian-12", raw)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.code) == ("image.import", "refused", "unsupported")
    assert not Image.objects.exists()


def test_it_takes_no_disk_that_no_vm_may_have(folder, disk, monkeypatch):
    monkeypatch.setattr(use, "largest_disk_gb", 0.001)
    assert refusal("import", "debian-12", disk) == (
        "The disk in disk.qcow2 has 0 GB, and that of a VM at most 0.001. Shrink it, with its file system first."
    )
    assert list(folder.iterdir()) == []
    assert MAX_DISK_GB == 10_240


def test_it_holds_a_file_to_its_checksum(disk):
    assert "is not the file that was meant" in refusal("import", "debian-12", disk, "--sha256", "0" * 64)


# list


def test_it_lists_images_with_the_nodes_that_have_them(disk):
    assert "No images." in images("list")
    images("import", "debian-12", disk)
    assert " -" in images("list")
    NodeFactory(name="worker-02", images=["debian-12"])
    NodeFactory(name="worker-01", images=["debian-12", "debian-11"])
    NodeFactory(name="gone", images=["debian-12"], deleted_at="2025-12-03T10:00:00Z")
    printed = images("list")
    for words in ("debian-12", "3.0 MB", "bios virtio", "worker-01, worker-02"):
        assert words in printed
    assert "debian-11" not in printed
    assert "gone" not in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_import_that_is_ended_leaves_nothing(disk, folder, monkeypatch, number):
    handlers = signal.getsignal(number)
    monkeypatch.setattr(image_files, "_looked_at", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as caught:
        images("import", "debian-12", disk)
    assert caught.value.code == 128 + number
    assert files(folder) == []
    assert not Image.objects.exists()
    assert signal.getsignal(number) == handlers


def test_an_import_that_is_to_outlive_its_terminal_does(disk, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    looked_at = image_files._looked_at

    def hang_up(*arguments):
        os.kill(os.getpid(), signal.SIGHUP)
        return looked_at(*arguments)

    monkeypatch.setattr(image_files, "_looked_at", hang_up)
    try:
        images("import", "debian-12", disk)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert Image.objects.exists()


# push


def test_it_pushes_an_image_to_nodes(disk, backend):
    images("import", "debian-12", disk)
    image = Image.objects.get()
    nodes = [NodeFactory(name=name, images=()) for name in ("worker-01", "worker-02", "worker-03")]
    printed = images("push", "debian-12", "worker-01", nodes[1].id, "worker-01")
    assert backend.volumes == {(name, image.volume): disk.stat().st_size for name in ("worker-01", "worker-02")}
    assert [node.images.count() for node in nodes] == [1, 1, 0]
    assert "worker-01 has debian-12." in printed
    assert AuditEntry.objects.filter(action="image.push", object_id=image.id).count() == 2
    images("push", "debian-12", "--all")
    assert NodeImage.objects.count() == 3


def test_it_goes_on_where_a_node_does_not_take_it(disk, backend):
    images("import", "debian-12", disk)
    for name in ("worker-01", "worker-02", "worker-03", "worker-04"):
        NodeFactory(name=name, images=(), lost=name == "worker-03")
    backend.refusals = {"worker-01": NodeUnreachable("worker-01 is off."), "worker-02": Refused("No room.")}
    message = refusal("push", "debian-12", "worker-01", "worker-02", "worker-03", "worker-04")
    assert message == (
        "worker-01: worker-01 is off.\nworker-02: No room.\nworker-03: worker-03 is marked lost and is left alone."
    )
    assert list(NodeImage.objects.values_list("node__name", flat=True)) == ["worker-04"]
    codes = AuditEntry.objects.filter(outcome="refused").values_list("code", flat=True)
    assert sorted(codes) == ["conflict", "node_unavailable", "unsupported"]


def test_it_pushes_no_file_that_was_changed(disk, folder, backend):
    images("import", "debian-12", disk)
    NodeFactory(name="worker-01", images=())
    path = folder / Image.objects.get().volume
    path.write_bytes(b"something else")
    assert "is gone or was changed. Import debian-12 again." in refusal("push", "debian-12", "worker-01")
    path.unlink()
    assert "is gone or was changed." in refusal("push", "debian-12", "worker-01")
    assert not backend.volumes


def test_it_says_for_each_node_that_the_file_cannot_be_read(disk, backend, monkeypatch):
    images("import", "debian-12", disk)
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, images=())

    def closed(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    first, second = refusal("push", "debian-12", "--all").splitlines()
    assert first.startswith("worker-01: ")
    assert first.endswith(".qcow2 cannot be read: Permission denied. Say this as the user who imported it.")
    assert second == first.replace("worker-01", "worker-02")


def test_a_node_has_no_image_that_was_replaced_while_it_was_sent(disk, backend, monkeypatch):
    images("import", "debian-12", disk)
    NodeFactory(name="worker-01", images=())
    monkeypatch.setattr(
        backend, "push_image", lambda *args: Image.objects.update(volume="image-debian-12-another.qcow2")
    )
    assert "was imported anew or removed meanwhile" in refusal("push", "debian-12", "worker-01")
    assert not NodeImage.objects.exists()


def test_a_backend_without_image_files_says_so(disk):
    images("import", "debian-12", disk)
    NodeFactory(name="worker-01")
    assert "MockBackend keeps no image files" in refusal("push", "debian-12", "worker-01")


def test_it_asks_which_nodes(disk):
    images("import", "debian-12", disk)
    assert refusal("push", "debian-12") == "Name the nodes, or say --all."
    assert refusal("push", "debian-12", "--all") == "There is no node. Add one by manage.py nodes add."
    assert "There is no node 'worker-09'" in refusal("push", "debian-12", "worker-09")
    NodeFactory(name="worker-01")
    assert "No image is kept for 'debian-11'." in refusal("push", "debian-11", "worker-01")


# remove


def test_it_removes_an_image_from_its_nodes_and_its_file(disk, folder, backend):
    images("import", "debian-12", disk)
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, images=["debian-11"])
    images("push", "debian-12", "--all")
    NodeFactory(name="lost", images=["debian-12"], lost=True)
    backend.refusals["lost"] = NodeUnreachable("lost is off.")
    assert images("remove", "debian-12") == "Removed debian-12.\n"
    assert backend.volumes == {}
    assert files(folder) == []
    assert not Image.objects.exists()
    assert list(NodeImage.objects.filter(node__lost=False).values_list("os_image", flat=True)) == ["debian-11"] * 2
    assert AuditEntry.objects.filter(action="image.withdraw").count() == 2
    assert AuditEntry.objects.get(action="image.remove").after is None


def test_it_says_that_the_file_is_left_where_it_may_not_be_removed(disk, folder, backend, monkeypatch):
    images("import", "debian-12", disk)

    def refused(volume):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / volume))

    monkeypatch.setattr(image_actions, "_drop_file", refused)
    message = refusal("remove", "debian-12")
    assert message.startswith("debian-12 is removed, but for its file: ")
    assert message.endswith(".qcow2: Permission denied. Remove that by hand.")
    assert not Image.objects.exists()


def test_it_keeps_an_image_that_a_node_keeps(disk, folder, backend):
    images("import", "debian-12", disk)
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, images=())
    images("push", "debian-12", "--all")
    backend.refusals["worker-02"] = Refused("A disk is a clone of it.")
    assert refusal("remove", "debian-12") == "A disk is a clone of it."
    assert Image.objects.exists()
    assert len(files(folder)) == 1
    assert list(NodeImage.objects.values_list("node__name", flat=True)) == ["worker-02"]
    del backend.refusals["worker-02"]
    images("remove", "debian-12")
    assert not NodeImage.objects.exists()


def test_it_keeps_an_image_of_deployed_vms(disk, backend):
    images("import", "ubuntu-22.04", disk)
    VirtualMachineFactory(status=Status.RUNNING)
    assert refusal("remove", "ubuntu-22.04") == "1 deployed VMs are made of ubuntu-22.04. Delete them first."
    assert Image.objects.exists()
    assert AuditEntry.objects.get(outcome="refused").action == "image.remove"


def test_it_keeps_an_image_on_a_node_where_a_disk_may_be_made_of_it(disk, backend):
    images("import", "debian-12", disk)
    node = NodeFactory(name="worker-01", images=())
    images("push", "debian-12", "--all")
    task = Task.objects.create(
        type="vm-start", subject_id="a" * 24, node_id=node.id, status=TaskStatus.RUNNING, lease_until=timezone.now()
    )
    assert "A task is at work on worker-01" in refusal("remove", "debian-12")
    assert len(backend.volumes) == node.images.count() == Image.objects.count() == 1
    task.delete()
    images("remove", "debian-12")
    assert backend.volumes == {}


def test_a_vm_that_is_started_while_another_node_is_asked_keeps_it_on_its_own(disk, backend, monkeypatch):
    images("import", "ubuntu-22.04", disk)
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, images=())
    images("push", "ubuntu-22.04", "--all")
    real = backend.remove_image

    def remove_and_start(node, volume):
        real(node, volume)
        VirtualMachineFactory(status=Status.RUNNING, node=Node.objects.get(name="worker-02"))

    monkeypatch.setattr(backend, "remove_image", remove_and_start)
    assert "1 deployed VMs are made of ubuntu-22.04" in refusal("remove", "ubuntu-22.04")
    assert [name for name, _ in backend.volumes] == ["worker-02"]
    assert list(NodeImage.objects.values_list("node__name", flat=True)) == ["worker-02"]
    assert Image.objects.exists()


def test_what_a_mock_has_is_its_operators_word(disk):
    node = NodeFactory(images=["debian-12"])
    images("import", "debian-12", disk)
    images("remove", "debian-12")
    assert node.images.exists()
    assert not Image.objects.exists()


# prune


@pytest.fixture
def older(disk, tmp_path, backend):
    """The volume of an image that was imported anew since it was pushed to two nodes."""
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, images=())
    images("import", "debian-12", disk)
    images("push", "debian-12", "--all")
    older = Image.objects.get().volume
    images("import", "debian-12", qcow2_disk(tmp_path / "newer.qcow2", b"newer"))
    images("push", "debian-12", "--all")
    return older


def test_it_removes_what_is_not_kept_any_more(older, backend, operator):
    kept = Image.objects.get().volume
    node = Node.objects.get(name="worker-01")
    Node.objects.update(strays={"images": [older], "foreign": ["theirs"]})
    assert images("prune", "worker-01") == f"worker-01: removed {older}.\n"
    node.refresh_from_db()
    assert node.strays == {"foreign": ["theirs"]}, "nobody is told to remove it once more"
    assert set(backend.volumes) == {("worker-01", kept), ("worker-02", older), ("worker-02", kept)}
    assert list(node.images.values_list("os_image", flat=True)) == ["debian-12"]
    entry = AuditEntry.objects.get(action="image.prune")
    assert (entry.actor_id, entry.object_type, entry.object_id) == (operator.id, "node", node.id)
    assert (entry.before, entry.after) == ({"volume": older, "node": "worker-01"}, None)
    assert images("prune", "worker-01") == "worker-01 has no image that is not kept any more.\n"
    images("prune", "--all")
    assert set(backend.volumes) == {("worker-01", kept), ("worker-02", kept)}


def test_it_says_which_a_disk_still_needs(older, backend):
    backend.bases.add(older)
    before = dict(backend.volumes)
    assert images("prune", "worker-01") == f"worker-01: kept. 1 disks are clones of {older}.\n"
    assert backend.volumes == before
    assert not AuditEntry.objects.filter(action="image.prune").exists()


def test_it_removes_nothing_while_a_disk_may_be_made_of_it(older, backend):
    node = Node.objects.get(name="worker-01")
    task = Task.objects.create(
        type="vm-start", subject_id="a" * 24, node_id=node.id, status=TaskStatus.RUNNING, lease_until=timezone.now()
    )
    before = dict(backend.volumes)
    assert "worker-01: A task is at work on worker-01" in refusal("prune", "--all")
    assert set(before) - set(backend.volumes) == {("worker-02", older)}  # where none is, it is removed
    Task.objects.filter(pk=task.pk).update(lease_until=None)  # it waits, and will read anew what is kept
    assert images("prune", "worker-01") == f"worker-01: removed {older}.\n"


def test_it_prunes_no_node_that_is_lost_or_off(older, backend):
    Node.objects.filter(name="worker-01").update(lost=True)
    backend.refusals["worker-02"] = NodeUnreachable("worker-02 is off.")
    assert refusal("prune", "worker-01", "worker-02") == (
        "worker-01: worker-01 is marked lost and is left alone.\nworker-02: worker-02 is off."
    )
    assert refusal("prune") == "Name the nodes, or say --all."


# Who may


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "debian-12", "f"),
        ("list",),
        ("push", "debian-12", "worker-01"),
        ("remove", "debian-12"),
        ("prune", "worker-01"),
    ],
)
def test_it_is_for_operators_alone(arguments):
    UserFactory(username="alice")
    NodeFactory(name="worker-01")
    assert refusal(*arguments, "--as", "alice").endswith("Only an operator may do this.")
    entry = AuditEntry.objects.get()
    assert (entry.outcome, entry.code, entry.actor_name) == ("refused", "forbidden", "alice")
