"""A guest that dies, is paused, is taken from its node or does not listen: what becomes of its VM."""

import logging
import time

import pytest

from nodes.queries import node_ref
from resources import reconcile
from resources.models import VirtualMachine
from resources.specs import vm_spec
from tasks.worker import drain
from tests.hypervisor import estate
from tests.hypervisor.guests import wait_for
from tests.hypervisor.work import work
from vmbackends import get_backend
from vmbackends.libvirt import readings, shutdowns


@pytest.fixture
def lab(here):
    yield here[0]
    estate.assert_balanced(here, estate.books())


def running(lab, count=1, **how):
    vms = [estate.create(lab.name, **how) for _ in range(count)]
    estate.ask("start", *vms)
    work()
    assert estate.statuses(vms) == ["running"] * count, [estate.error(vm) for vm in vms]
    return vms


def power(lab, vm):
    return lab.virsh("domstate", f"vm-{vm}").strip()


def is_off(lab, vm):
    return power(lab, vm) == "shut off"


def test_one_whose_qemu_is_killed_is_in_error_and_is_stopped_restarted_or_deleted(lab):
    vms = running(lab, 3)
    for vm in vms:
        lab.kill_guest(f"vm-{vm}")
        wait_for(lambda vm=vm: is_off(lab, vm), "libvirtd to see it")
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["error"] * 3
    assert estate.error(vms[0]) == (
        "The guest crashed: it panicked, or its QEMU was killed, as for want of memory. "
        "Look at its logs, then restart it."
    )

    stopped, restarted, deleted = vms
    estate.ask("stop", stopped)
    estate.ask("restart", restarted)
    estate.ask("delete", deleted)
    work()
    reconcile.sweep_all()
    assert estate.statuses([stopped, restarted]) == ["stopped", "running"]
    assert estate.error(stopped) == ""
    assert estate.log(stopped)[-2:] == ["VM stop requested", "VM stopped"]
    assert power(lab, restarted) == "running"
    assert f"vm-{deleted}" not in lab.virsh("list", "--all", "--name") + lab.virsh("vol-list", "aiwm")

    estate.ask("start", stopped)
    work()
    assert estate.status(stopped) == "running"


def test_one_whose_qemu_is_killed_while_libvirtd_is_dead_is_in_error(lab):
    (vm,) = running(lab)
    lab.kill_daemon()
    lab.kill_guest(f"vm-{vm}")
    reconcile.sweep_all()
    assert estate.status(vm) == "running"
    assert not estate.online(lab.name)
    lab.start_daemon()
    wait_for(lambda: is_off(lab, vm), "libvirtd to see it")
    wait_for(lambda: reconcile.sweep_all() or estate.online(lab.name), "the node's return")
    assert estate.status(vm) == "error", (lab.virsh("domstate", f"vm-{vm}", "--reason"), estate.log(vm))


def test_one_that_is_undefined_by_hand_is_defined_anew_from_its_disk(lab):
    off, gone, transient, dropped = vms = running(lab, 4)
    estate.ask("stop", off)
    work()
    lab.virsh("undefine", f"vm-{off}")
    lab.virsh("destroy", f"vm-{gone}")
    lab.virsh("undefine", f"vm-{gone}")
    lab.virsh("undefine", f"vm-{transient}")
    lab.virsh("undefine", f"vm-{dropped}")
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["stopped", "error", "running", "running"], "one that runs is not gone"
    assert "Its domain is gone from the node." in estate.error(gone)

    lab.virsh("destroy", f"vm-{dropped}")
    reconcile.sweep_all()
    assert estate.status(dropped) == "error"
    estate.ask("start", off)
    estate.ask("restart", gone, transient)
    estate.ask("stop", dropped)
    work()
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["running", "running", "running", "stopped"]
    for vm in (off, gone, transient):
        assert "start 0x0002" in lab.run("cat", lab.pool / f"vm-{vm}-console.log"), "its disk is a new one"
        assert "yes" in lab.virsh("dominfo", f"vm-{vm}").partition("Persistent:")[2].splitlines()[0]


def test_one_that_does_not_listen_has_its_power_cut(lab, settings):
    settings.SHUTDOWN_SECONDS = 1
    (vm,) = running(lab, os_image="debian-11")
    estate.ask("stop", vm)
    work()
    assert estate.status(vm) == "stopped"
    assert is_off(lab, vm)
    assert "The guest did not shut down within 1 s; its power is cut" in estate.log(vm)


def test_one_whose_qemu_hangs_holds_up_no_other_and_has_its_power_cut(lab, settings, monkeypatch):
    settings.SHUTDOWN_SECONDS = 1
    monkeypatch.setattr(shutdowns, "_TAKES_A_REQUEST_S", 1)
    hangs, other = running(lab, 2)
    lab.run("kill", "-STOP", qemu(lab, hangs))

    reconcile.sweep_all()
    assert estate.statuses([hangs, other]) == ["running", "running"]
    assert estate.online(lab.name)
    estate.ask("stop", other)
    work()
    estate.ask("delete", other)
    work()
    estate.ask("stop", hangs)
    work()
    assert estate.status(hangs) == "stopped"
    assert is_off(lab, hangs)
    assert "The guest did not shut down within 1 s; its power is cut" in estate.log(hangs)


def test_many_that_hang_and_are_stopped_cost_no_other_its_shutdown(lab, settings, monkeypatch, caplog):
    """libvirtd reads no more from who has five calls open, and the silence would be taken for its death."""
    settings.SHUTDOWN_SECONDS = 60
    monkeypatch.setattr(shutdowns, "_TAKES_A_REQUEST_S", 0.2)
    *hang, other = vms = running(lab, 6)
    for vm in hang:
        lab.run("kill", "-STOP", qemu(lab, vm))
    with caplog.at_level(logging.INFO):
        estate.ask("stop", *hang)
        drain()
        estate.ask("stop", other)
        wait_for(lambda: drain() and estate.status(other) == "stopped", "the other to be stopped")
    assert estate.log(other)[-2:] == ["VM stop requested", "VM stopped"]
    assert estate.statuses(hang) == ["stopping"] * 5
    assert "a connection to a node was closed" not in caplog.text

    for vm in hang:
        lab.run("kill", "-CONT", qemu(lab, vm))
    work()
    assert estate.statuses(vms) == ["stopped"] * 6
    assert not any("its power is cut" in line for vm in vms for line in estate.log(vm))


def test_one_whose_qemu_hangs_keeps_no_other_from_being_measured(lab, monkeypatch):
    monkeypatch.setattr(readings, "_ANSWERS_S", 2)
    vms = running(lab, 3)
    hangs, hangs_too, other = vms
    for vm in vms:
        ((_, sample),) = measured(vm).items()
        assert sample.disk_used_gb is not None

    for stopped, measurable in ((hangs, {hangs_too, other}), (hangs_too, {other})):
        lab.run("kill", "-STOP", qemu(lab, stopped))
        assert set(measured(*vms)) == measurable
        began = time.monotonic()
        samples = measured(*vms)
        assert set(samples) == measurable
        assert samples[other].cpu_usage is not None
        assert time.monotonic() - began < 1, "none of these calls hangs any more"

    for vm in (hangs, hangs_too):
        lab.run("kill", "-CONT", qemu(lab, vm))
    wait_for(lambda: set(measured(*vms)) == set(vms), "all to be measured again")


def qemu(lab, vm):
    return (lab.run_folder / f"qemu/vm-{vm}.pid").read_text().strip()


def measured(*vms):
    rows = VirtualMachine.objects.select_related("node", "organization").filter(pk__in=vms)
    return get_backend().metrics(node_ref(rows[0].node), [vm_spec(row) for row in rows])


def test_one_that_is_paused_is_in_error_until_it_goes_on_or_is_stopped_or_restarted(lab):
    vms = running(lab, 2)
    for vm in vms:
        lab.virsh("qemu-monitor-command", f"vm-{vm}", "--hmp", "stop")
        wait_for(lambda vm=vm: power(lab, vm) == "paused", "the pause")
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["error"] * 2
    assert estate.error(vms[0]) == (
        "The guest does not run: paused for no known reason: the hypervisor could not go on with it. "
        "Restart it, or stop it."
    )

    estate.ask("stop", vms[0])
    estate.ask("restart", vms[1])
    work()
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["stopped", "running"]
    assert "The guest is paused; its power is cut" in estate.log(vms[0])

    for verb, status in (("suspend", "error"), ("resume", "running")):
        lab.virsh(verb, f"vm-{vms[1]}")
        reconcile.sweep_all()
        assert estate.status(vms[1]) == status
