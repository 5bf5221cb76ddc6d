"""A node that is rebooted, loses its power or does not answer in the middle of a task."""

import pytest
from django.utils import timezone

from resources import reconcile
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


def power(lab, vm):
    return lab.virsh("domstate", f"vm-{vm}").strip()


def deploy(*vms):
    estate.ask("start", *vms)
    work()
    assert set(estate.statuses(vms)) == {"running"}, [estate.error(vm) for vm in vms]


def sweep_until_online(lab):
    """Its connection is opened anew when its breaker lets one through."""
    wait_for(lambda: reconcile.sweep_all() or estate.online(lab.name), "the node's return")


def test_after_a_reboot_what_was_meant_to_be_on_comes_on_and_what_was_off_stays_off(lab):
    on, stopped, shut_down, failed = vms = [estate.create(lab.name) for _ in range(4)]
    deploy(*vms)
    estate.ask("stop", stopped)
    work()
    lab.virsh("shutdown", f"vm-{shut_down}", "--mode", "acpi")
    lab.kill_guest(f"vm-{failed}")
    wait_for(lambda: {power(lab, shut_down), power(lab, failed)} == {"shut off"}, "both to be off")
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["running", "stopped", "stopped", "error"]

    lab.stop()
    reconcile.sweep_all()
    assert not estate.online(lab.name)
    assert estate.statuses(vms) == ["running", "stopped", "stopped", "error"], "a node that is away changes no status"
    lab.start()
    sweep_until_online(lab)
    work()
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["running", "stopped", "stopped", "error"]
    assert [power(lab, vm) for vm in vms] == ["running", "shut off", "shut off", "shut off"]
    assert "The node was restarted; the VM is started again" in estate.log(on)
    assert "start 0x0002" in lab.run("cat", lab.pool / f"vm-{on}-console.log")


@pytest.fixture
def cut_off_before(monkeypatch, lab):
    """Do this to the node when the backend is called so for the first time."""

    def cut_off(method, deed):
        real = getattr(LibvirtBackend, method)

        def called(*args, **kwargs):
            monkeypatch.setattr(LibvirtBackend, method, real)
            deed()
            return real(*args, **kwargs)

        monkeypatch.setattr(LibvirtBackend, method, called)

    return cut_off


def give_up():
    """Let the deadline of what is tried again pass."""
    drain()
    assert Task.objects.filter(finished_at=None, not_before__isnull=False).count() == 1
    Task.objects.filter(finished_at=None).update(deadline_at=timezone.now(), not_before=None)
    drain()


@pytest.mark.parametrize(("method", "seen"), [("define", "stopped"), ("domain", "running")])
def test_one_that_does_not_answer_is_tried_until_the_deadline_and_taken_at_its_word_when_it_is_back(
    lab, cut_off_before, method, seen
):
    vm = estate.create(lab.name)
    deploy(vm)
    estate.ask("stop", vm)
    work()
    cut_off_before(method, lab.kill_daemon)
    estate.ask("start", vm)
    give_up()
    assert estate.status(vm) == "error"
    assert "lab-a cannot be reached. Given up" in estate.error(vm)
    assert "it is not known whether it runs" in estate.error(vm)

    reconcile.sweep_all()
    assert estate.status(vm) == "error"
    lab.start_daemon()
    sweep_until_online(lab)
    assert (estate.status(vm), estate.error(vm)) == (seen, "")


def test_one_that_answers_again_before_the_deadline_ends_the_task_as_if_nothing_had_been(lab, cut_off_before):
    vm = estate.create(lab.name)
    cut_off_before("define", lab.kill_daemon)
    estate.ask("start", vm)
    drain()
    assert estate.status(vm) == "deploying"
    assert estate.open_tasks() == 1
    lab.start_daemon()
    estate.wait_no_more()
    work()
    assert estate.status(vm) == "running"


@pytest.mark.parametrize(("method", "seen"), [("write_seed", "error"), ("domain", "deploying")])
def test_one_that_loses_its_power_in_a_first_deploy_brings_it_to_its_end_when_it_is_back(
    lab, cut_off_before, method, seen
):
    vm = estate.create(lab.name)
    cut_off_before(method, lab.stop)
    estate.ask("start", vm)
    give_up()
    assert "it is not known whether it runs" in estate.error(vm)
    lab.start()
    sweep_until_online(lab)
    assert estate.status(vm) == seen, "it comes on by itself if it was defined"
    if seen == "error":
        assert "Its domain is gone from the node. Restart defines it anew" in estate.error(vm)
        estate.ask("restart", vm)
    work()
    assert estate.status(vm) == "running"


def test_a_stop_that_it_does_not_answer_is_never_taken_for_done(lab, cut_off_before):
    vm = estate.create(lab.name)
    deploy(vm)
    cut_off_before("power_off", lab.kill_daemon)
    estate.ask("stop", vm, force=True)
    give_up()
    assert estate.status(vm) == "error"
    lab.start_daemon()
    sweep_until_online(lab)
    assert estate.status(vm) == "running"
    assert power(lab, vm) == "running"
