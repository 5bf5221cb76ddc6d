"""What a node refuses, while it is there and while it is not, and what can be done about it then."""

import pytest

from common.errors import NodeUnavailable
from resources import reconcile
from resources.models import VirtualMachine
from snapshots.models import Snapshot
from tasks.models import Task
from tasks.worker import drain
from tests.hypervisor import estate
from tests.hypervisor.guests import wait_for
from tests.hypervisor.work import work
from vmbackends.libvirt import LibvirtBackend


@pytest.fixture
def lab(here):
    yield here[0]
    estate.assert_balanced(here, estate.books())


@pytest.fixture
def vm(lab):
    """One that was started and stopped."""
    vm = estate.create(lab.name)
    done(vm, "start", "running")
    done(vm, "stop", "stopped")
    return vm


def done(vm, verb, status, ask=estate.ask):
    ask(verb, vm)
    work()
    assert estate.status(vm) == status, estate.error(vm)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_vm_whose_later_start_or_restart_is_refused_is_in_error_and_keeps_its_disk(lab, vm, verb):
    if verb == "restart":
        done(vm, "start", "running")
    estate.change_node(lab.name, untagged_bridge=estate.NO_BRIDGE)
    done(vm, verb, "error")
    assert "could not start it" in estate.error(vm)
    reconcile.sweep_all()
    assert estate.status(vm) == "error", "what it was refused for is still so"
    assert f"vm-{vm}.qcow2" in lab.virsh("vol-list", "aiwm")

    estate.change_node(lab.name, untagged_bridge="br0")
    done(vm, "restart", "running")


def test_a_vm_whose_deploy_cannot_be_taken_back_is_in_error_and_can_be_started_or_deleted(lab, monkeypatch):
    started, deleted = vms = [estate.create(lab.name) for _ in range(2)]
    estate.change_node(lab.name, untagged_bridge=estate.NO_BRIDGE)
    undefine = LibvirtBackend.undefine

    def undefine_without_a_node(*args):
        lab.kill_daemon()
        undefine(*args)

    for vm in vms:
        with monkeypatch.context() as patched:
            patched.setattr(LibvirtBackend, "undefine", undefine_without_a_node)
            done(vm, "start", "error")
        assert "could not start it" in estate.error(vm)
        lab.start_daemon()
        wait_for(lambda: reconcile.sweep_all() or estate.online(lab.name), "the node's return")
    estate.change_node(lab.name, untagged_bridge="br0")
    done(started, "restart", "running")
    estate.ask("delete", deleted)
    work()
    assert deleted not in lab.virsh("list", "--all", "--name") + lab.virsh("vol-list", "aiwm")


@pytest.mark.parametrize("force", [False, True])
def test_a_vm_that_may_not_be_stopped_is_in_error_and_is_deleted_as_soon_as_it_may_be(lab, vm, force):
    done(vm, "start", "running")
    estate.change_node(lab.name, uri=f"{lab.uri}-ro")  # libvirt's socket for those who only look
    estate.ask("stop", vm, force=force)
    work()
    assert estate.status(vm) == "error"
    assert "read only access prevents virDomain" in estate.error(vm)
    reconcile.sweep_all()
    assert lab.virsh("domstate", f"vm-{vm}").strip() == "running"

    estate.ask("delete", vm)
    drain(limit=3)
    task = Task.objects.get(type="vm-delete")
    assert (task.status, task.message) == ("running", "Refused; trying again")
    assert "read only access prevents virDomainDestroy" in task.error
    estate.change_node(lab.name, uri=lab.uri)
    work()
    assert f"vm-{vm}" not in lab.virsh("list", "--all", "--name") + lab.virsh("vol-list", "aiwm")


def test_a_snapshot_that_is_refused_has_failed_and_leaves_the_vm_as_it_was(lab, vm):
    disk = lab.pool / f"vm-{vm}.qcow2"
    disk.rename(disk.with_suffix(".away"))
    done(vm, "take", "stopped", ask=estate.ask_for_snapshot)
    assert estate.snapshots([vm]) == ["failed"]
    assert Snapshot.objects.get().error

    disk.with_suffix(".away").rename(disk)
    done(vm, "remove", "stopped", ask=estate.ask_for_snapshot)
    done(vm, "take", "stopped", ask=estate.ask_for_snapshot)
    assert estate.snapshots([vm]) == ["completed"]
    done(vm, "start", "running")


def test_a_vm_whose_restore_is_refused_on_the_way_is_in_error_and_can_be_restarted(lab, vm):
    done(vm, "start", "running")
    done(vm, "take", "running", ask=estate.ask_for_snapshot)
    name = f"aiwm-{Snapshot.objects.get().id}"
    done(vm, "stop", "stopped")
    lab.run("qemu-img", "snapshot", "-d", name, lab.pool / f"vm-{vm}.qcow2")
    done(vm, "start", "running")
    done(vm, "restore", "error", ask=estate.ask_for_snapshot)
    assert "could not restore a snapshot" in estate.error(vm)

    done(vm, "restart", "running")


def test_while_it_is_away_a_vm_cannot_be_started_stopped_or_restarted_and_nothing_waits_for_its_return(lab, vm):
    new, crashed = estate.create(lab.name), estate.create(lab.name)
    done(crashed, "start", "running")
    lab.kill_guest(f"vm-{crashed}")
    wait_for(lambda: reconcile.sweep_all() or estate.status(crashed) == "error", "the crash to be seen")
    lab.kill_daemon()
    reconcile.sweep_all()
    for name, verb in ((new, "start"), (vm, "start"), (crashed, "stop"), (crashed, "restart")):
        with pytest.raises(NodeUnavailable, match=f"{lab.name}"):
            estate.ask(verb, name)
    assert estate.statuses([new, vm, crashed]) == ["queued", "stopped", "error"]
    assert estate.open_tasks() == 0
    estate.ask("delete", crashed)
    assert VirtualMachine.objects.get(pk=crashed).deleted_at, "it is hidden, and cleaned up when the node is back"

    lab.start_daemon()
    wait_for(lambda: reconcile.sweep_all() or estate.online(lab.name), "the node's return")
    estate.wait_no_more()
    work()
    assert crashed not in lab.virsh("list", "--all", "--name") + lab.virsh("vol-list", "aiwm")
    done(new, "start", "running")
