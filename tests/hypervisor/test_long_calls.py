"""What takes longer than a step of a task, starts and snapshots: whoever asks, however often, it is done once.

Each backend here is a worker of its own. A QEMU that is stopped makes what libvirt asks of it last.
"""

import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hypervisor.guests import IMAGE, guest_spec, node_ref, wait_for
from tests.vmbackends.contract import snapshot_of
from vmbackends.base import Power, PowerIntent
from vmbackends.errors import Busy, Refused, Untouched
from vmbackends.libvirt import LibvirtBackend, longcalls, snapshots


@pytest.fixture
def lab(labs):
    return labs[0]


@pytest.fixture
def ref(lab):
    return node_ref(lab)


@pytest.fixture(autouse=True)
def steps_are_short(monkeypatch):
    monkeypatch.setattr(longcalls, "_WAITS_S", 0.2)
    monkeypatch.setattr(longcalls, "_WAITS_FOR_ITS_TURN_S", 3.0)


@pytest.fixture
def workers(labs):
    workers = LibvirtBackend(), LibvirtBackend()
    yield workers
    for worker in workers:
        worker._connections.close()


@pytest.fixture
def off(workers, ref):
    """One that is to be started."""
    vm = guest_spec(power=PowerIntent(True, datetime.now(UTC)), image=IMAGE)
    workers[0].create_disk(ref, vm)
    workers[0].define(ref, vm)
    return vm


@pytest.fixture
def vm(workers, ref, off):
    """One that runs."""
    wait_for(lambda: workers[0].start(ref, off), "the guest to start")
    wait_for(lambda: workers[0].domain(ref, off).booted, "the guest to boot")
    return off


@pytest.fixture
def snapshot(workers, ref, vm):
    return taken(workers[0], ref, vm)


def taken(backend, ref, vm, *, with_memory=True):
    snapshot = snapshot_of(vm, with_memory=with_memory)
    wait_for(lambda: backend.create_snapshot(ref, vm, snapshot) is not None, "the snapshot")
    return snapshot


def qemus(vm):
    """Process ids of the guest's QEMU, as the machine sees them: while libvirt forks it, it has another name."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"guest=vm-{vm.id}," in (process / "cmdline").read_text():
                name = (process / "comm").read_text()
                found |= {int(process.name)} if name.startswith("qemu") else set()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Frozen:
    """Stops the next QEMU of the guest as it starts."""

    def __init__(self, vm):
        self._vm, self._old, self.pid = vm, qemus(vm), None
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        give_up = time.monotonic() + 30
        while self.pid is None and time.monotonic() < give_up:
            for pid in qemus(self._vm) - self._old:
                os.kill(pid, signal.SIGSTOP)
                self.pid = pid

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        assert self.pid is not None

    def send(self, number):
        os.kill(self.pid, number)


def run_number(lab, vm):
    """libvirt's, of the guest's run: another for each QEMU."""
    return lab.virsh("domid", f"vm-{vm.id}").strip()


def on_disk(lab, vm):
    return lab.run("qemu-img", "snapshot", "-l", "-U", lab.pool / f"vm-{vm.id}.qcow2")


def test_a_long_start_is_made_once_whichever_workers_ask_for_it(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    assert [worker.start(ref, off) for worker in workers * 2] == [False] * 4
    assert workers[1].domain(ref, off).power is Power.RUNNING, "on its way"

    qemu.send(signal.SIGCONT)
    for worker in reversed(workers):
        wait_for(lambda worker=worker: worker.start(ref, off), "the start")
    assert qemus(off) == {qemu.pid}
    wait_for(lambda: workers[1].domain(ref, off).booted, "the guest to boot")


def test_one_that_failed_is_known_to_have_failed_to_the_worker_that_did_not_begin_it(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    qemu.send(signal.SIGKILL)
    with pytest.raises(Refused, match=f"could not start {off.name}: its QEMU ended before it was there"):
        wait_for(lambda: workers[1].start(ref, off, begun=True), "the failure")

    wait_for(lambda: workers[1].start(ref, off), "one that was asked for anew")
    assert workers[1].start(ref, off, begun=True) is True


def test_one_during_which_libvirtd_dies_has_not_failed(lab, ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    lab.kill_daemon()
    workers[0]._connections.close()
    qemu.send(signal.SIGKILL)
    lab.start_daemon()
    wait_for(lambda: workers[1].start(ref, off, begun=True), "the start")
    assert workers[1].domain(ref, off).power is Power.RUNNING


def test_a_start_that_failed_says_nothing_of_another_workers_that_did_not(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    qemu.send(signal.SIGKILL)
    wait_for(lambda: workers[1].start(ref, off), "the start")

    wait_for(lambda: workers[0].start(ref, off), "the same")
    assert workers[0].domain(ref, off).power is Power.RUNNING


def test_one_that_is_not_begun_for_others_are_is_not_told_of_in_the_guests_log(lab, ref, off, workers, monkeypatch):
    monkeypatch.setattr(longcalls, "MOST_STARTS_OF_A_NODE", 0)
    console = lab.pool / f"vm-{off.id}-console.log"
    for _ in range(2):
        with pytest.raises(Busy):
            workers[0].start(ref, off)
    assert not console.exists() or console.read_bytes() == b""


def test_one_that_runs_waits_for_no_turn(ref, vm, workers, monkeypatch):
    monkeypatch.setattr(longcalls, "MOST_STARTS_OF_A_NODE", 0)
    assert workers[0].start(ref, vm) is True


def test_one_whose_qemu_dies_has_failed_and_can_be_asked_for_again(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    qemu.send(signal.SIGKILL)
    with pytest.raises(Refused, match="could not start it"):
        wait_for(lambda: workers[0].start(ref, off), "the failure")
    assert workers[1].domain(ref, off).power is Power.CRASHED
    wait_for(lambda: workers[1].start(ref, off), "the start")
    assert workers[1].domain(ref, off).power is Power.RUNNING


def test_a_guest_that_was_started_in_the_end_and_died_is_not_started_again(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    qemu.send(signal.SIGCONT)
    wait_for(lambda: workers[1].start(ref, off), "the start")
    workers[1].power_off(ref, off)
    assert workers[0].start(ref, off) is True, "it was, for what this worker began"
    assert workers[0].domain(ref, off).power is Power.OFF


def test_a_long_start_can_be_ended_by_force(ref, off, workers):
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    workers[1].power_off(ref, off)
    assert qemus(off) == set()
    assert not Path(f"/proc/{qemu.pid}").exists()


def test_a_long_restore_is_done_once_whichever_workers_ask_for_it(lab, ref, vm, snapshot, workers):
    asked_at = datetime.now(UTC)
    with Frozen(vm) as qemu:
        assert workers[0].restore_snapshot(ref, vm, snapshot, asked_at) is False
    assert [worker.restore_snapshot(ref, vm, snapshot, asked_at) for worker in workers * 2] == [False] * 4

    qemu.send(signal.SIGCONT)
    wait_for(lambda: workers[1].restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    run = run_number(lab, vm)
    assert [worker.restore_snapshot(ref, vm, snapshot, asked_at) for worker in workers * 2] == [True] * 4
    assert run_number(lab, vm) == run, "the guest has run on"
    assert workers[0].domain(ref, vm).power is Power.RUNNING

    again = datetime.now(UTC)
    wait_for(lambda: workers[1].restore_snapshot(ref, vm, snapshot, again), "another restore")
    assert run_number(lab, vm) != run


def test_a_step_does_not_end_before_its_turn_has_come(lab, ref, vm, snapshot, workers, monkeypatch):
    """Else the next to look would see nothing of a restore, and begin another behind it."""
    (qemu,) = qemus(vm)
    prepare = snapshots.prepare
    went_on = threading.Event()

    def prepare_and_have_another_come_first(*args):
        answer = prepare(*args)
        os.kill(qemu, signal.SIGSTOP)
        threading.Thread(target=lab.virsh, args=("dommemstat", f"vm-{vm.id}")).start()
        wait_for(lambda: "ok" not in lab.virsh("domcontrol", f"vm-{vm.id}"), "libvirt to ask the guest's QEMU")
        threading.Timer(2, go_on).start()
        return answer

    def go_on():
        went_on.set()
        os.kill(qemu, signal.SIGCONT)

    monkeypatch.setattr(snapshots, "prepare", prepare_and_have_another_come_first)
    asked_at = datetime.now(UTC)
    workers[0].restore_snapshot(ref, vm, snapshot, asked_at)
    assert went_on.is_set()
    workers[0]._connections.close()
    monkeypatch.undo()

    wait_for(lambda: workers[1].restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    assert (lab.logs / f"qemu/vm-{vm.id}.log").read_text().count("-loadvm") == 1


def test_one_whose_qemu_dies_fails_and_can_be_asked_for_again(ref, vm, snapshot, workers):
    asked_at = datetime.now(UTC)
    with Frozen(vm) as qemu:
        assert workers[0].restore_snapshot(ref, vm, snapshot, asked_at) is False
    qemu.send(signal.SIGKILL)
    with pytest.raises(Refused, match="could not restore a snapshot"):
        wait_for(lambda: workers[0].restore_snapshot(ref, vm, snapshot, asked_at), "the failure")
    assert workers[0].domain(ref, vm).power is Power.CRASHED

    wait_for(lambda: workers[1].restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    assert workers[1].domain(ref, vm).power is Power.RUNNING


def test_one_during_which_libvirtd_dies_is_begun_again(lab, ref, vm, snapshot, workers):
    asked_at = datetime.now(UTC)
    with Frozen(vm) as qemu:
        assert workers[0].restore_snapshot(ref, vm, snapshot, asked_at) is False
    lab.kill_daemon()
    workers[0]._connections.close()
    lab.start_daemon()
    assert workers[1].restore_snapshot(ref, vm, snapshot, asked_at) is False
    qemu.send(signal.SIGCONT)
    wait_for(lambda: workers[1].restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    assert workers[1].domain(ref, vm).power is Power.RUNNING


@pytest.mark.parametrize("with_memory", [True, False])
def test_a_guest_that_is_to_be_off_then_is_off(lab, ref, vm, workers, with_memory):
    off = replace(vm, power=PowerIntent(False, datetime.now(UTC)))
    if not with_memory:
        workers[0].power_off(ref, off)
    snapshot = taken(workers[0], ref, off, with_memory=with_memory)
    asked_at = datetime.now(UTC)
    wait_for(lambda: workers[0].restore_snapshot(ref, off, snapshot, asked_at), "the restore")
    assert workers[0].restore_snapshot(ref, off, snapshot, asked_at) is True
    assert workers[0].domain(ref, off).power is Power.OFF


def test_one_whose_last_start_failed_goes_back_to_its_disk_once(ref, off, workers):
    snapshot = taken(workers[0], ref, off, with_memory=False)
    with Frozen(off) as qemu:
        assert workers[0].start(ref, off) is False
    qemu.send(signal.SIGKILL)
    with pytest.raises(Refused):
        wait_for(lambda: workers[0].start(ref, off), "the failure")
    stopped = replace(off, power=PowerIntent(False, datetime.now(UTC)))
    asked_at = datetime.now(UTC)

    wait_for(lambda: workers[0].restore_snapshot(ref, stopped, snapshot, asked_at), "the restore")


def test_while_it_waits_for_its_turn_the_guest_runs(ref, vm, workers, monkeypatch):
    workers[0].power_off(ref, vm)
    snapshot = taken(workers[0], ref, vm, with_memory=False)
    wait_for(lambda: workers[0].start(ref, vm), "the start")
    monkeypatch.setattr(longcalls, "MOST_OF_A_NODE", 0)

    with pytest.raises(Busy):
        workers[0].restore_snapshot(ref, vm, snapshot, datetime.now(UTC))

    assert workers[0].domain(ref, vm).power is Power.RUNNING


def test_one_without_memory_is_not_gone_back_to_again_when_the_guest_has_run_on(lab, ref, vm, workers):
    workers[0].power_off(ref, vm)
    snapshot = taken(workers[0], ref, vm, with_memory=False)
    asked_at = datetime.now(UTC)
    wait_for(lambda: workers[0].restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    assert workers[0].domain(ref, vm).power is Power.OFF
    wait_for(lambda: workers[0].start(ref, vm), "the start")
    run = run_number(lab, vm)
    assert workers[1].restore_snapshot(ref, vm, snapshot, asked_at) is True
    assert run_number(lab, vm) == run


@pytest.mark.parametrize("with_memory", [True, False])
def test_one_that_libvirt_forgot_with_the_domain_is_removed_from_the_disk(lab, ref, vm, workers, with_memory):
    backend, off = workers[0], replace(vm, power=PowerIntent(False, datetime.now(UTC)))
    if not with_memory:
        backend.power_off(ref, off)
    snapshot = taken(backend, ref, off, with_memory=with_memory)
    backend.power_off(ref, off)
    lab.virsh("undefine", f"vm-{vm.id}", "--snapshots-metadata")
    with pytest.raises(Refused, match="is not defined on its node"):
        backend.delete_snapshot(ref, off, snapshot)
    assert "aiwm-" in on_disk(lab, vm)

    backend.define(ref, vm)
    if with_memory:
        wait_for(lambda: backend.start(ref, vm), "the start")
    wait_for(lambda: backend.delete_snapshot(ref, vm, snapshot), "the removal")
    assert "aiwm-" not in on_disk(lab, vm)
    assert lab.virsh("snapshot-list", "--name", f"vm-{vm.id}").strip() == ""
    assert workers[1].delete_snapshot(ref, vm, snapshot) is True


def test_one_with_memory_that_libvirt_forgot_is_refused_with_nothing_touched(lab, ref, vm, snapshot, workers):
    backend = workers[0]
    backend.power_off(ref, vm)
    lab.virsh("undefine", f"vm-{vm.id}", "--snapshots-metadata")
    with pytest.raises(Untouched, match=r"was undefined by hand\. Delete the snapshot"):
        backend.restore_snapshot(ref, vm, snapshot, datetime.now(UTC))

    backend.define(ref, vm)
    wait_for(lambda: backend.start(ref, vm), "the start")
    run = run_number(lab, vm)
    with pytest.raises(Untouched, match=r"was undefined by hand\. Delete the snapshot"):
        backend.restore_snapshot(ref, vm, snapshot, datetime.now(UTC))
    assert (run_number(lab, vm), backend.domain(ref, vm).power) == (run, Power.RUNNING)


def test_one_without_memory_that_libvirt_forgot_is_gone_back_to(lab, ref, vm, workers):
    backend = workers[0]
    backend.power_off(ref, vm)
    disk = lab.pool / f"vm-{vm.id}.qcow2"
    lab.run("qemu-io", "-c", "write -P 0x11 1M 64k", disk)
    snapshot = taken(backend, ref, vm, with_memory=False)
    lab.run("qemu-io", "-c", "write -P 0x22 1M 64k", disk)
    wait_for(lambda: backend.start(ref, vm), "the start")
    lab.virsh("undefine", f"vm-{vm.id}", "--snapshots-metadata")
    run = run_number(lab, vm)
    with pytest.raises(Untouched, match="is not defined on its node"):
        backend.restore_snapshot(ref, vm, snapshot, datetime.now(UTC))
    assert run_number(lab, vm) == run, "it would be gone with its power"

    backend.define(ref, vm)
    lab.virsh("snapshot-delete", f"vm-{vm.id}", f"aiwm-{snapshot.id}", "--metadata")
    asked_at = datetime.now(UTC)
    wait_for(lambda: backend.restore_snapshot(ref, vm, snapshot, asked_at), "the restore")
    assert backend.domain(ref, vm).power is Power.OFF
    assert "failed" not in lab.run("qemu-io", "-c", "read -P 0x11 1M 64k", disk), "it has the content of then"


def test_a_long_one_is_taken_and_removed_once_whichever_workers_ask_for_it(lab, ref, vm, workers):
    snapshot = snapshot_of(vm, with_memory=True)
    (qemu,) = qemus(vm)
    os.kill(qemu, signal.SIGSTOP)
    assert [worker.create_snapshot(ref, vm, snapshot) for worker in workers * 2] == [None] * 4
    os.kill(qemu, signal.SIGCONT)
    wait_for(lambda: workers[1].create_snapshot(ref, vm, snapshot), "the snapshot")
    assert workers[0].create_snapshot(ref, vm, snapshot) == workers[1].create_snapshot(ref, vm, snapshot) > 0
    assert on_disk(lab, vm).count("aiwm-") == 1

    os.kill(qemu, signal.SIGSTOP)
    assert [worker.delete_snapshot(ref, vm, snapshot) for worker in workers * 2] == [False] * 4
    os.kill(qemu, signal.SIGCONT)
    wait_for(lambda: workers[1].delete_snapshot(ref, vm, snapshot), "the removal")
    assert workers[0].delete_snapshot(ref, vm, snapshot) is True
    assert lab.virsh("snapshot-list", "--name", f"vm-{vm.id}").strip() == ""


@pytest.mark.parametrize("with_memory", [True, False])
def test_one_of_a_guest_that_had_its_seed_then_and_has_not_now_is_removed_while_it_runs(
    lab, ref, vm, workers, with_memory
):
    """libvirt 9.0 ends with a segmentation fault where a snapshot has a disk that the domain has not."""
    backend = workers[0]
    backend.power_off(ref, vm)
    backend.write_seed(ref, vm, None)
    backend.define(ref, vm)
    if with_memory:
        wait_for(lambda: backend.start(ref, vm), "the start")
    assert "sda" in lab.virsh("domblklist", f"vm-{vm.id}")
    snapshot = taken(backend, ref, vm, with_memory=with_memory)
    backend.power_off(ref, vm)
    backend.remove_seed(ref, vm)
    backend.define(ref, vm)
    wait_for(lambda: backend.start(ref, vm), "the start")
    assert "sda" not in lab.virsh("domblklist", f"vm-{vm.id}")
    before, run = lab.daemon_pid, run_number(lab, vm)

    wait_for(lambda: backend.delete_snapshot(ref, vm, snapshot), "the removal")

    assert (lab.daemon_pid, run_number(lab, vm)) == (before, run)
    assert "aiwm-" not in on_disk(lab, vm)
    assert lab.virsh("snapshot-list", "--name", f"vm-{vm.id}").strip() == ""
