"""A pool that is full, before a deploy, in the middle of it and under a guest that runs, and an image that is gone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from lab.shell import CommandFailed
from nodes.models import Node
from resources import reconcile
from resources.models import VirtualMachine
from snapshots.models import Snapshot
from tests.hypervisor import estate
from tests.hypervisor.guests import node_ref, wait_for
from tests.hypervisor.work import work
from vmbackends import get_backend
from vmbackends.libvirt import LibvirtBackend

pytestmark = pytest.mark.one_engine

POOL = "small"
# Room for disks of 10 GB, as they could grow; nothing of it is used before it is written to.
ROOMY = "11g"


class SmallPool:
    """A pool in memory, whose size can be changed."""

    def __init__(self, lab):
        self.lab = lab
        self.folder = lab.folder / POOL

    def make(self):
        self.folder.mkdir()
        self.lab.run("mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", self.folder)
        self.lab.virsh("pool-define-as", POOL, "dir", "--target", str(self.folder))
        self.lab.virsh("pool-start", POOL)

    def fill(self):
        """Leave not a page of it. A guest may write more between the look and the resize, which then is refused."""
        for attempt in range(10):
            used = self.lab.run("df", "--output=used", "--block-size=1", self.folder).split()[-1]
            try:
                self._resize(used)
                self.lab.virsh("pool-refresh", POOL)
            except CommandFailed:
                if attempt == 9:
                    raise
            else:
                return

    def make_room(self):
        """As by hand: libvirt is not told."""
        self._resize(ROOMY)

    def _resize(self, size):
        self.lab.run("mount", "-o", f"remount,size={size}", self.folder)

    def remove(self):
        self.lab.virsh("pool-destroy", POOL)
        self.lab.virsh("pool-undefine", POOL)
        self.lab.run("umount", self.folder)
        self.folder.rmdir()


@pytest.fixture
def pool(here, push_images):
    lab = here[0]
    pool = SmallPool(lab)
    pool.make()
    ref = node_ref(lab)
    push_images(estate.in_pool(ref, POOL))
    estate.change_node(lab.name, pool=POOL)
    yield pool
    estate.assert_balanced([lab], estate.books(), POOL)
    estate.put_right(lab)
    pool.remove()


@pytest.fixture
def fill_before(monkeypatch, pool):
    """Fill the pool when the backend is called so for the first time. A guest that is there by then finds it full."""

    def fill(method):
        real = getattr(LibvirtBackend, method)

        def called(backend, node, vm, *more, **named):
            pool.fill()
            if method == "domain":
                wait_for(lambda: pool.lab.virsh("domstate", f"vm-{vm.id}").strip() == "paused", "the guest's pause")
            monkeypatch.setattr(LibvirtBackend, method, real)
            return real(backend, node, vm, *more, **named)

        monkeypatch.setattr(LibvirtBackend, method, called)

    return fill


def left_of(pool, vm):
    listed = pool.lab.virsh("vol-list", POOL) + pool.lab.virsh("list", "--all", "--name")
    return [word for word in listed.split() if word.startswith(f"vm-{vm}")]


def test_a_deploy_into_a_full_pool_fails_and_leaves_nothing_and_is_done_when_there_is_room(pool):
    pool.fill()
    failed, deleted = estate.create(pool.lab.name), estate.create(pool.lab.name)
    estate.ask("start", failed, deleted)
    work()
    assert estate.statuses([failed, deleted]) == ["failed", "failed"]
    assert "The pool small has 0 GB free, and the disk may grow to 10 GB." in estate.error(failed)
    assert left_of(pool, failed) == []
    estate.ask("delete", deleted)
    assert estate.open_tasks() == 0

    pool.make_room()
    estate.ask("start", failed)
    work()
    assert estate.status(failed) == "running"


@pytest.mark.parametrize("method", ["create_disk", "write_seed", "start", "domain"])
def test_one_that_fills_up_in_the_middle_of_a_deploy_fails_it_and_nothing_is_left(pool, fill_before, method):
    vm = estate.create(pool.lab.name, os_image="debian-11")
    fill_before(method)
    estate.ask("start", vm)
    work()
    assert estate.status(vm) == "failed"
    assert any(words in estate.error(vm) for words in ("No space left on device", "out of space", "0 GB free"))
    assert left_of(pool, vm) == []
    estate.ask("delete", vm)
    assert estate.open_tasks() == 0


def test_one_that_fills_up_under_a_guest_pauses_it_and_it_is_restarted_stopped_or_deleted(pool):
    vms = [estate.create(pool.lab.name, os_image="debian-11") for _ in range(3)]
    estate.ask("start", *vms)
    work()
    assert estate.statuses(vms) == ["running"] * 3, estate.error(vms[0])
    pool.fill()
    for vm in vms:
        wait_for(lambda vm=vm: pool.lab.virsh("domstate", f"vm-{vm}").strip() == "paused", "the pause")
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["error"] * 3
    assert estate.error(vms[0]) == (
        "The guest does not run: paused because its disk failed: its node may be out of space. Restart it, or stop it."
    )

    restarted, stopped, deleted = vms
    estate.ask("stop", stopped)
    estate.ask("delete", deleted)
    work()
    assert left_of(pool, deleted) == []
    pool.make_room()
    estate.ask("restart", restarted, force=True)
    work()
    reconcile.sweep_all()
    assert estate.statuses([restarted, stopped]) == ["running", "stopped"]


def test_what_is_removed_by_hand_is_missed_and_what_is_put_back_is_there(pool):
    """libvirt itself knows neither until it looks into its pool."""
    lab, vm = pool.lab, estate.create(pool.lab.name)
    estate.ask("start", vm)
    work()
    estate.ask("stop", vm)
    work()
    estate.ask_for_snapshot("take", vm)
    work()
    disk, log = (pool.folder / name for name in (f"vm-{vm}.qcow2", f"vm-{vm}-console.log"))
    lab.run("mv", disk, f"{disk}.kept")
    lab.run("rm", log)
    for verb in ("restore", "remove"):
        estate.ask_for_snapshot(verb, vm)
        work()
        assert "is gone from its node. Ask an operator" in estate.newest_tasks([vm])[0]["error"]
        assert (estate.status(vm), estate.snapshots([vm])) == ("stopped", ["completed"])
    assert f"aiwm-{Snapshot.objects.get().id}" in lab.virsh("snapshot-list", f"vm-{vm}")
    VirtualMachine.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    reconcile.sweep_all()
    assert Node.objects.get(name=lab.name).strays == {"diskless": [vm]}
    estate.ask("start", vm)
    work()
    assert estate.status(vm) == "error"
    assert "is gone from its node. Ask an operator to put it back." in estate.error(vm)

    lab.run("mv", f"{disk}.kept", disk)
    estate.ask("restart", vm)
    work()
    assert estate.status(vm) == "running", estate.error(vm)
    estate.ask_for_snapshot("restore", vm)
    work()
    assert estate.newest_tasks([vm])[0]["status"] == "succeeded"

    image = pool.folder / estate.IMAGES["debian-12"].volume
    other = estate.create(pool.lab.name)
    lab.run("mv", image, f"{image}.kept")
    estate.ask("start", other)
    estate.ask("restart", vm)
    work()
    assert "Push it: manage.py images push debian-12" in estate.error(other)
    refused = estate.newest_tasks([vm])[0]
    assert refused["status"] == "failed"
    assert refused["error"].startswith(f"The image {image.name}, of which the disk of ")
    assert estate.status(vm) == "running"
    assert lab.virsh("domstate", f"vm-{vm}").strip() == "running"
    lacks = [lack.what for lack in get_backend().probe(estate.in_pool(node_ref(lab), POOL)).lacks]
    assert f"The image {image.name} is gone, of which 1 disks are clones: their VMs cannot be started." in lacks
    lab.run("mv", f"{image}.kept", image)
    estate.ask("start", other)
    work()
    assert estate.statuses([vm, other]) == ["running", "running"], estate.error(other)


def test_a_deploy_of_an_image_that_the_node_has_lost_fails_and_says_how_to_mend_it(pool):
    pool.lab.virsh("vol-delete", estate.IMAGES["debian-12"].volume, POOL)
    vm = estate.create(pool.lab.name)
    estate.ask("start", vm)
    work()
    assert estate.status(vm) == "failed"
    assert "Push it: manage.py images push debian-12" in estate.error(vm)
    assert left_of(pool, vm) == []
