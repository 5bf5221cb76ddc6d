"""A node that is rebooted, loses its power or does not answer in the middle of a task."""

import pytest
from django.utils import timezone

import nodes.actions
from accounts.actors import Actor
from common.errors import Conflict
from nodes import claims
from nodes.models import Claim, Node
from resources import actions, reconcile
from resources.models import VirtualMachine
from snapshots.models import Snapshot
from tasks.models import Task
from tasks.worker import drain
from tests.factories import OperatorFactory, create_body, static_network, vm_config
from tests.hypervisor import estate
from tests.hypervisor.guests import wait_for
from tests.hypervisor.work import work
from vmbackends.libvirt import LibvirtBackend

ADDRESS = "198.51.100.99"


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


def sweep_until(condition, what):
    """A node's connection is opened anew when its breaker lets one through."""
    wait_for(lambda: reconcile.sweep_all() or condition(), what)


def sweep_until_online(lab):
    sweep_until(lambda: estate.online(lab.name), "the node's return")


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
    sweep_until(lambda: (estate.status(vm), estate.error(vm)) == (seen, ""), f"the VM to be {seen}")


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
    sweep_until(lambda: estate.status(vm) == "running", "the VM to be running")
    assert power(lab, vm) == "running"


def test_a_vm_that_is_deleted_while_it_is_away_is_cleaned_up_when_it_is_back(lab):
    vm = estate.create(lab.name)
    deploy(vm)
    estate.ask("stop", vm, force=True)
    work()
    lab.kill_daemon()
    estate.ask("delete", vm)
    drain()
    assert estate.open_tasks([vm]) == 1, "it waits"
    assert Claim.objects.filter(vm_id=vm).exists(), "its address is given to nobody meanwhile"
    lab.start_daemon()
    sweep_until_online(lab)
    estate.wait_no_more()
    work()
    assert f"vm-{vm}" not in lab.virsh("list", "--all", "--name")
    assert not Claim.objects.filter(vm_id=vm).exists()


def test_a_vm_that_was_forgotten_with_a_lost_node_is_told_of_and_let_be_when_that_is_back(lab):
    """What it has of the node and its network is given to nobody meanwhile."""
    kept, forgotten = vms = [estate.create(lab.name) for _ in range(2)]
    deploy(*vms)
    lab.kill_daemon()
    reconcile.sweep_all()
    operator = Actor.of(OperatorFactory(), via="api")
    node = Node.objects.get(name=lab.name)
    nodes.actions.mark_lost(operator, node.id)
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["error", "error"]
    address = VirtualMachine.objects.get(pk=forgotten).config.network_config.ip_address
    actions.forget(operator, forgotten)
    assert not Claim.objects.filter(vm_id=forgotten).exists()

    lab.start_daemon()
    reconcile.sweep_all()
    assert estate.statuses([kept]) == ["error"], "while it is lost it is let be"
    nodes.actions.mark_lost(operator, node.id, lost=False)
    with pytest.raises(Conflict, match=rf"^The address {address} is taken"):
        claims.take_address("c" * 24, "", node.segment, None, address)
    with pytest.raises(Conflict, match="has not been looked at yet"):
        nodes.actions.set_maintenance(operator, node.id, on=False)
    sweep_until(lambda: estate.status(kept) == "running", "the VM to be running")
    work()
    node.refresh_from_db()
    assert not node.enabled, "it stays in maintenance"
    names = [f"vm-{forgotten}", f"vm-{forgotten}-console.log", f"vm-{forgotten}.qcow2"]
    assert node.strays == {"orphans": {forgotten: names}}
    assert power(lab, forgotten) == "running"
    nodes.actions.set_maintenance(operator, node.id, on=False)
    lab.virsh("destroy", names[0])
    lab.virsh("undefine", names[0])
    for volume in names[1:]:
        lab.virsh("vol-delete", volume, "aiwm")
    with pytest.raises(Conflict, match=rf"^The address {address} is taken"):
        claims.take_address("c" * 24, "", node.segment, None, address)
    reconcile.sweep_all()
    work()
    claims.take_address("c" * 24, "", node.segment, None, address)
    claims.give_back("c" * 24)


@pytest.mark.parametrize("cut", ["kill_daemon", "stop"])
def test_a_snapshot_it_does_not_answer_for_fails_and_leaves_the_vm_as_it_was(lab, cut_off_before, cut):
    vm = estate.create(lab.name)
    deploy(vm)
    cut_off_before("create_snapshot", getattr(lab, cut))
    estate.ask_for_snapshot("take", vm)
    give_up()
    assert (estate.snapshots([vm]), estate.status(vm)) == (["failed"], "running")
    assert "lab-a cannot be reached. Given up" in Snapshot.objects.get().error

    come_back(lab)
    assert (estate.status(vm), power(lab, vm)) == ("running", "running")
    estate.ask_for_snapshot("remove", vm)
    work()
    estate.ask_for_snapshot("take", vm)
    work()
    assert (estate.snapshots([vm]), estate.status(vm)) == (["completed"], "running")
    assert len(lab.virsh("snapshot-list", "--name", f"vm-{vm}").split()) == 1


@pytest.mark.parametrize("cut", ["kill_daemon", "stop"])
def test_one_that_answers_again_in_time_ends_a_snapshot_and_a_restore_as_if_nothing_had_been(lab, cut_off_before, cut):
    vm = estate.create(lab.name)
    deploy(vm)
    for verb, method in (("take", "create_snapshot"), ("restore", "restore_snapshot")):
        cut_off_before(method, getattr(lab, cut))
        estate.ask_for_snapshot(verb, vm)
        drain()
        assert estate.open_tasks([vm]) == 1
        come_back(lab)
        assert (estate.snapshots([vm]), estate.status(vm), power(lab, vm)) == (["completed"], "running", "running")
    assert Snapshot.objects.get().with_memory == (cut == "kill_daemon"), "a guest that was off by then had none"


@pytest.mark.parametrize("cut", ["kill_daemon", "stop"])
def test_a_restore_it_does_not_answer_for_is_an_error_until_it_is_back(lab, cut_off_before, cut):
    vm = estate.create(lab.name)
    deploy(vm)
    estate.ask_for_snapshot("take", vm)
    work()
    cut_off_before("restore_snapshot", getattr(lab, cut))
    estate.ask_for_snapshot("restore", vm)
    give_up()
    assert estate.status(vm) == "error"
    assert "it is not known whether it runs" in estate.error(vm)

    come_back(lab)
    assert (estate.status(vm), estate.error(vm), power(lab, vm)) == ("running", "", "running")
    estate.ask_for_snapshot("restore", vm)
    work()
    assert (estate.status(vm), power(lab, vm)) == ("running", "running")
    assert (lab.logs / f"qemu/vm-{vm}.log").read_text().count("-loadvm") == 1


def come_back(lab):
    """Until all is done that waited for it, and what was to be on is."""
    lab.start()
    sweep_until_online(lab)
    estate.wait_no_more()
    for _ in range(2):
        work()
        reconcile.sweep_all()


def test_in_maintenance_it_takes_no_new_vms_and_those_on_it_work_as_ever(lab):
    vm = estate.create(lab.name)
    operator = Actor.of(OperatorFactory(), via="api")
    node = Node.objects.get(name=lab.name)
    body = create_body(node, config=vm_config(osImage="debian-12", networkConfig=static_network(ADDRESS, None)))
    nodes.actions.set_maintenance(operator, node.id, on=True)
    deploy(vm)
    with pytest.raises(Conflict, match="maintenance"):
        actions.create(operator, body)

    lab.stop()
    reconcile.sweep_all()
    come_back(lab)
    assert power(lab, vm) == "running", "after a reboot, too"
    for verb, status in (("stop", "stopped"), ("start", "running"), ("stop", "stopped"), ("delete", "stopped")):
        estate.ask(verb, vm)
        work()
        assert estate.status(vm) == status
    assert f"vm-{vm}" not in lab.virsh("list", "--all", "--name")
    nodes.actions.set_maintenance(operator, node.id, on=False)
    assert actions.create(operator, body).status == "queued"
