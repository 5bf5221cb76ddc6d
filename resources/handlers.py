"""What workers do on a node for each task of a VM, step by step. Every step may be repeated.

How a task ends for its VM is in `resources.settle`.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from nodes.queries import node_ref
from resources import guest_console, logs, secrets, settle, vlans
from resources.models import VirtualMachine
from resources.specs import vm_spec
from tasks.engine import Run
from tasks.registry import Step, TaskType, Wait
from vmbackends import get_backend
from vmbackends.base import NodeRef, Power, PowerIntent, VmSpec
from vmbackends.errors import Refused

# How often a worker looks whether a guest has come up or gone down.
_LOOK_AGAIN_S = 1.0


def deadline_s(waits_for_guest_s: float) -> float:
    """Ten minutes; more where its guest is given more, for else what that does not do would pass for an absent node."""
    return max(600.0, waits_for_guest_s + 240.0)


def load(run: Run) -> tuple[NodeRef, VirtualMachine]:
    """The VM as its row says now, and its node."""
    vm = VirtualMachine.objects.select_related("node", "organization").get(pk=run.task.subject_id)
    return node_ref(vm.node), vm


def _spec(run: Run, vm: VirtualMachine, *, on: bool, since: str) -> VmSpec:
    """The spec with the power as it was asked for in this task: `since` names the step's mark in its state."""
    moment = run.state.get(since)
    asked = datetime.fromisoformat(moment) if moment else timezone.now()
    return vm_spec(vm, PowerIntent(on=on, since=asked))


# Disk, seed, definition


def _create_disk(run: Run) -> None:
    node, vm = load(run)
    get_backend().create_disk(node, vm_spec(vm))


def _find_disk(run: Run) -> None:
    """The disk of a guest that has run is grown, and never made anew: a new one would be empty."""
    node, vm = load(run)
    if vm.started_at is None:
        get_backend().create_disk(node, vm_spec(vm))
    else:
        get_backend().grow_disk(node, vm_spec(vm))


def _look_first(run: Run) -> None:
    """Before the power of a guest is cut that could not be started again. Of one that runs, nothing is grown."""
    node, vm = load(run)
    _refuse_closed_network(vm)
    if vm.started_at is not None:
        get_backend().grow_disk(node, vm_spec(vm))


def _write_seed_if_new(run: Run) -> None:
    """A guest whose first deploy came to no end has not had its cloud-init yet."""
    _, vm = load(run)
    if vm.started_at is None:
        _write_seed(run)


def _remove_seed_if_new(run: Run) -> None:
    _, vm = load(run)
    if vm.started_at is None:
        _remove_seed(run)


def _delete_disks(run: Run) -> None:
    node, vm = load(run)
    get_backend().delete_disks(node, vm_spec(vm))


def _write_seed(run: Run) -> None:
    node, vm = load(run)
    get_backend().write_seed(node, vm_spec(vm), secrets.for_seed(vm))


def _remove_seed(run: Run) -> None:
    node, vm = load(run)
    get_backend().remove_seed(node, vm_spec(vm))


def define(run: Run) -> None:
    node, vm = load(run)
    _refuse_closed_network(vm)
    get_backend().define(node, vm_spec(vm))


def _refuse_closed_network(vm: VirtualMachine) -> None:
    """Asked once more: its task may have waited for a node since."""
    why = vlans.refusal(vm)
    if why is not None:
        raise Refused(why)


def _undefine(run: Run) -> None:
    node, vm = load(run)
    get_backend().undefine(node, vm_spec(vm))


# Power


def power_on(run: Run) -> Wait | None:
    node, vm = load(run)
    run.state.setdefault("on_since", timezone.now().isoformat())
    spec = _spec(run, vm, on=True, since="on_since")
    on = get_backend().start(node, spec, begun=run.state.get("start_begun", False))
    run.state["start_begun"] = not on
    return None if on else Wait(_LOOK_AGAIN_S)


def _cut_power(run: Run) -> None:
    node, vm = load(run)
    get_backend().power_off(node, _spec(run, vm, on=False, since="off_since"))


def wait_for_guest(run: Run) -> Wait | None:
    """A first deploy is done when the guest says that it is up. Of one that was up before, it is enough in the end that
    it runs: its owner may have taken away what would say so."""
    node, vm = load(run)
    state = get_backend().domain(node, _spec(run, vm, on=True, since="on_since"))
    late = timezone.now() - run.asked_at() > timedelta(seconds=settings.BOOT_SECONDS)
    if state.power is Power.RUNNING and not state.booted and not late:
        return Wait(_LOOK_AGAIN_S, "Waiting for the guest to come up")
    guest_console.read_one(vm)
    if state.power is not Power.RUNNING:
        # Off for no known reason it is after a reboot of its node: the next look at that tells.
        run.state["power_lost"] = vm.started_at is not None and state.power is Power.OFF and not state.reason
        raise Refused(
            f"The guest did not stay on: {state.reason or state.power.value}. See the VM's logs and its node's."
        )
    if not state.booted and vm.started_at is None:
        raise Refused(
            f"The guest did not come up within {settings.BOOT_SECONDS:g} s. Check its image and cloud-init, "
            "then start it again."
        )
    if not state.booted:
        logs.record(
            vm.id,
            "warning",
            f"The guest runs; it did not say that it is up within {settings.BOOT_SECONDS:g} s. If it cannot be used, "
            "look at its console.",
        )
    run.state["ip_address"] = state.ip_address
    return None


def _ask_to_shut_down(run: Run) -> None:
    run.state.setdefault("off_since", timezone.now().isoformat())
    if run.payload.get("force"):
        return
    node, vm = load(run)
    backend = get_backend()
    if backend.power(node, vm_spec(vm, PowerIntent(True, vm.desired_since or vm.created_at))) is Power.RUNNING:
        backend.shutdown(node, _spec(run, vm, on=False, since="off_since"))


def _wait_until_off(run: Run) -> Wait | None:
    if run.payload.get("force"):
        return None
    node, vm = load(run)
    power = get_backend().power(node, _spec(run, vm, on=False, since="off_since"))
    if power in (Power.OFF, Power.CRASHED, Power.MISSING):
        return None
    if power is Power.RUNNING and timezone.now() - run.asked_at() < timedelta(seconds=settings.SHUTDOWN_SECONDS):
        return Wait(_LOOK_AGAIN_S, "Waiting for the guest to shut down")
    logs.record(
        vm.id,
        "warning",
        f"The guest did not shut down within {settings.SHUTDOWN_SECONDS:g} s; its power is cut"
        if power is Power.RUNNING
        else f"The guest is {power.value}; its power is cut",
    )
    return None


_SHUT_DOWN = (
    Step("shutdown", 10, "Asking the guest to shut down", _ask_to_shut_down),
    Step("off", 30, "Waiting for the guest to shut down", _wait_until_off),
    Step("cut", 45, "Powering off", _cut_power),
)
_POWER_ON = (
    Step("power-on", 75, "Starting the domain", power_on),
    Step("boot", 95, "Waiting for the guest to come up", wait_for_guest),
    Step("tidy", 98, "Checking the cloud-init seed", _remove_seed_if_new),
)


DEPLOY = TaskType(
    name="vm-deploy",
    steps=(
        Step("disk", 25, "Creating the disk", _create_disk, undo=_delete_disks),
        Step("seed", 40, "Writing the cloud-init seed", _write_seed, undo=_remove_seed),
        Step("define", 55, "Defining the domain", define, undo=_undefine),
        Step("power-on", 70, "Starting the domain", power_on, undo=_cut_power),
        Step("boot", 90, "Waiting for the guest to come up", wait_for_guest),
        Step("tidy", 98, "Removing the cloud-init seed", _remove_seed),
    ),
    settle=settle.after_deploy,
    deadline_s=deadline_s(settings.BOOT_SECONDS),
)

START = TaskType(
    name="vm-start",
    steps=(
        Step("disk", 20, "Checking the disk", _find_disk),
        Step("seed", 30, "Checking the cloud-init seed", _write_seed_if_new),
        Step("define", 50, "Defining the domain", define),
        *_POWER_ON,
    ),
    settle=settle.after_start,
    deadline_s=deadline_s(settings.BOOT_SECONDS),
)

STOP = TaskType(
    name="vm-stop", steps=_SHUT_DOWN, settle=settle.after_stop, deadline_s=deadline_s(settings.SHUTDOWN_SECONDS)
)

RESTART = TaskType(
    name="vm-restart",
    steps=(
        Step("look", 5, "Looking for what it needs", _look_first),
        *_SHUT_DOWN,
        Step("disk", 50, "Checking the disk", _find_disk),
        Step("seed", 55, "Checking the cloud-init seed", _write_seed_if_new),
        Step("define", 60, "Defining the domain", define),
        *_POWER_ON,
    ),
    settle=settle.after_start,
    deadline_s=deadline_s(settings.SHUTDOWN_SECONDS + settings.BOOT_SECONDS),
)

DELETE = TaskType(
    name="vm-delete",
    steps=(
        Step("cut", 30, "Powering off", _cut_power),
        Step("undefine", 60, "Removing the domain", _undefine),
        Step("disks", 95, "Removing the disks", _delete_disks),
    ),
    settle=settle.after_delete,
    deadline_s=None,
    retry_refusals=True,
    cancellable=False,
)

TYPES = (DEPLOY, START, STOP, RESTART, DELETE)
