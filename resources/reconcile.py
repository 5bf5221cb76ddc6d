"""What is, brought together with what should be: one bulk look at each node, every `SWEEP_SECONDS`, and sooner where
a node tells that something has changed.

Power flows from the node to the database. A node that does not answer changes no status. A VM with a task is
left to it. No row is deleted, and no domain touched, because the two do not agree.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from common.db import atomic
from nodes import sweep
from nodes.models import Node
from nodes.queries import node_ref
from resources import console, logs, strays, vlans
from resources.looks import Looks, Noticed
from resources.models import VirtualMachine
from resources.settle import GUEST_PAUSED, NODE_ABSENT, NODE_LOST, PASSING, as_it_was
from resources.specs import vm_specs
from resources.states import Status
from tasks import pulse
from tasks.models import OPEN, Task
from tasks.queue import abort, enqueue
from tasks.registry import registry
from vmbackends import get_backend
from vmbackends.addresses import usable_ipv4
from vmbackends.base import DomainState, Observation, Power
from vmbackends.errors import BackendError, NodeUnreachable, NotAsked

log = logging.getLogger(__name__)


_OFF_SOMEHOW = (
    "It is off, and its node cannot tell yet whether that is for a reboot of the node, after which it would be started "
    "again. Restart it, or stop it."
)

# A look at one node that takes longer is given up: it answers nobody.
LOOK_SECONDS = 25.0
# A node that tells of one change after the other is looked at no more often than this.
SHORTEST_PAUSE_SECONDS = 1.0
_AT_ONCE = 500  # rows that one statement changes
_LEFT_ALONE = timedelta(hours=1)

_looks: Looks[Observation] = Looks(LOOK_SECONDS)
_noticed = Noticed(SHORTEST_PAUSE_SECONDS)


def sweep_all() -> None:
    """Look at every node that is not lost, and put the VMs of lost ones right."""
    nodes = list(Node.objects.all())
    for node in nodes:
        if node.lost:
            with _hiding_no_other(node, "a lost node could not be buried"):
                bury(node)
    sweep_nodes([node for node in nodes if not node.lost])


def sweep_noticed() -> None:
    """Look at the nodes that have told of a change."""
    due = _noticed.take()
    if due:
        sweep_nodes(Node.objects.filter(pk__in=due, lost=False))


def sweep_node(node: Node) -> None:
    sweep_nodes([node])


def sweep_nodes(nodes: Iterable[Node]) -> None:
    """Look at them all at once, and settle what is seen, one node after the other."""
    by_id = {node.id: node for node in nodes}
    vms = VirtualMachine.objects.alive().filter(deployed=True, task=None).by_node(by_id.values())
    calls = {node.id: _look(node, vms[node.id]) for node in by_id.values()}
    for node_id, answer in _looks.all(calls):
        with _hiding_no_other(by_id[node_id], "sweep failed"):
            _settle_node(by_id[node_id], vms[node_id], answer)
        pulse.beat()


@contextmanager
def _hiding_no_other(node: Node, what: str) -> Iterator[None]:
    """Around what is done for one node: a fault that nobody foresaw is logged, and the others are seen."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception:
        log.exception(what, extra={"node": node.name})


def _look(node: Node, vms: Sequence[VirtualMachine]) -> Callable[[], Observation]:
    """A call for a thread of its own: it has all that it needs, and leaves the database alone."""
    backend, ref, specs = get_backend(), node_ref(node), vm_specs(vms)
    notice = partial(_noticed.add, node.id)

    def look() -> Observation:
        seen = backend.observe(ref, specs)
        try:
            backend.watch(ref, notice)
        except BackendError as e:  # what was seen is good; the next look asks again
            log.warning("a node's events cannot be had", extra={"node": ref.name, "reason": e.message})
        return seen

    return look


def _settle_node(node: Node, vms: Sequence[VirtualMachine], answer: Observation | Exception) -> None:
    match answer:
        case NotAsked() if _seen_lately(node):
            # By another worker: each leaves a node alone for what it has itself met with there.
            log.info("node not asked", extra={"node": node.name, "reason": answer.message})
        case NodeUnreachable(busy=True):  # health follows from when it was last seen
            log.warning("node too busy", extra={"node": node.name, "reason": answer.message})
        case NodeUnreachable():
            if node.online:
                log.warning("node out of reach", extra={"node": node.name, "reason": answer.message})
            sweep.mark_unseen(node)
        case BackendError():  # health follows from when it was last seen
            log.warning("node could not be observed", extra={"node": node.name, "reason": answer.message})
            strays.note_unseen(node, answer.message)
        case Exception():
            raise answer
        case _:
            _settle_seen(node, vms, answer)


def _seen_lately(node: Node) -> bool:
    """By one of the last two sweeps."""
    since = timezone.now() - timedelta(seconds=2 * settings.SWEEP_SECONDS)
    return node.last_seen is not None and node.last_seen > since


def _settle_seen(node: Node, vms: Sequence[VirtualMachine], seen: Observation) -> None:
    rebooted = bool(node.boot_id) and seen.boot_id != node.boot_id if seen.boot_id else None
    _mark_seen(node, seen.boot_id)
    came_on = []
    for vm in vms:
        state = seen.domains.get(vm.id)
        if state is not None:
            since_rebooted = vm.node_rebooted or rebooted
            settle_observation(vm, state, since_rebooted)
            if since_rebooted and state.power is Power.RUNNING:
                came_on.append(vm.id)
    if came_on:
        VirtualMachine.objects.filter(pk__in=came_on, task=None).update(node_rebooted=False)
    strays.note(node, seen)
    _clean_up_again(node)


@atomic
def _mark_seen(node: Node, boot_id: str) -> None:
    """Each VM that was on keeps for itself that the node was rebooted, until that is settled for it: it may have a task
    now which is none of its power, or be changed by somebody in this moment, or the worker may die."""
    if sweep.mark_seen(node, boot_id):
        on = Q(status=Status.RUNNING) | Q(status=Status.ERROR, error_reason__in=PASSING)
        # A task may be cancelled yet, and then it is as it was.
        noted = Q(on, desired_on=True) | Q(task__isnull=False)
        VirtualMachine.objects.alive().filter(noted, node=node).update(node_rebooted=True)


def settle_observation(vm: VirtualMachine, state: DomainState, rebooted: bool | None) -> None:
    """Bring one VM's row to what its node shows. `rebooted` is None where the node cannot tell."""
    if rebooted is None and vm.desired_on and state.power is Power.OFF and _was_on(vm):
        # Called stopped, it would not come on again once it is known that the node was rebooted.
        if vm.status == Status.RUNNING or vm.error_reason == GUEST_PAUSED:
            _write(vm, {"status": Status.ERROR, "error_message": _OFF_SOMEHOW, "error_reason": NODE_ABSENT}, state)
        return
    if rebooted and vm.desired_on and state.power is Power.OFF and _was_on(vm):
        _start_again(vm, "The node was restarted; the VM is started again", state)
        return
    if vm.started_at is None and state.power is Power.RUNNING and (_was_on(vm) or vm.status == Status.STOPPED):
        # Its first deploy was given up, and yet it runs: its seed, with the password, is still to be removed.
        _start_again(vm, "The node is back; the deploy is brought to its end", state)
        return
    columns = _columns_for(vm, state)
    if columns:
        _write(vm, {**columns, "node_rebooted": False}, state)


def _was_on(vm: VirtualMachine) -> bool:
    return vm.status == Status.RUNNING or (vm.status == Status.ERROR and vm.error_reason in PASSING)


def _columns_for(vm: VirtualMachine, state: DomainState) -> Mapping[str, Any]:
    now = timezone.now()
    came_back = vm.status == Status.ERROR and vm.error_reason in PASSING
    well = {"error_message": "", "error_reason": ""}
    if vm.status == Status.RUNNING or came_back or vm.status == Status.STOPPED:
        match state.power:
            case Power.RUNNING if vm.status != Status.RUNNING:
                # What was in error has run all the while; what was off was started from elsewhere.
                since = now if vm.status == Status.STOPPED else vm.started_at or now
                return {"status": Status.RUNNING, "desired_on": True, "started_at": since,
                        "stopped_at": None, **well, **_address(vm, state)}  # fmt: skip
            case Power.RUNNING:
                return _address(vm, state)
            case Power.OFF if vm.status != Status.STOPPED:
                return {"status": Status.STOPPED, "desired_on": False, "stopped_at": now, **well}
            case Power.CRASHED | Power.MISSING if vm.status == Status.STOPPED:
                return {}  # off it is, and its start defines it anew; a node tells how it went off until then
            case Power.PAUSED | Power.CRASHED | Power.MISSING:
                why, reason = _why(state), GUEST_PAUSED if state.power is Power.PAUSED else ""
                if (vm.error_message, vm.error_reason) == (why, GUEST_PAUSED):
                    return {}  # paused still
                return {"status": Status.ERROR, "error_message": why, "error_reason": reason}
    return {}


def _address(vm: VirtualMachine, state: DomainState) -> dict[str, Any]:
    address = usable_ipv4(state.ip_address)
    return {"ip_address": address} if address and address != vm.ip_address else {}


def _why(state: DomainState) -> str:
    match state.power:
        case Power.MISSING:
            return "Its domain is gone from the node. Restart defines it anew from its disk; else delete it."
        case Power.PAUSED:
            return f"The guest does not run: {state.reason or 'it is paused'}. Restart it, or stop it."
        case _:
            return f"The guest crashed: {state.reason or 'for a reason unknown'}. Look at its logs, then restart it."


@atomic
def _write(vm: VirtualMachine, columns: Mapping[str, Any], state: DomainState) -> None:
    rows = VirtualMachine.objects.filter(pk=vm.id, task=None, version=vm.version, deleted_at=None)
    if not rows.update(version=F("version") + 1, updated_at=timezone.now(), **columns):
        return  # somebody acted on it meanwhile; the next sweep sees what came of it
    status = columns.get("status")
    if status is None:
        return
    if status == Status.STOPPED:
        logs.record(vm.id, "warning", f"The VM was seen off: {state.reason or 'its node does not say why'}")
    elif status == Status.ERROR:
        logs.record(vm.id, "error", columns["error_message"])
    else:
        logs.record(vm.id, "info", "The VM was seen running")
    if status != Status.RUNNING:
        console.close_consoles(vm.id)


@atomic
def _start_again(vm: VirtualMachine, why: str, state: DomainState) -> None:
    """What was meant to be on comes on again, unless its network was taken away since. The node's slots keep it to
    two at a time."""
    closed = vlans.refusal(vm)
    if closed is not None:
        _write(vm, {"status": Status.ERROR, "error_message": closed, "error_reason": ""}, state)
        return
    task = _system_task(vm, "vm-start")
    taken = VirtualMachine.objects.filter(pk=vm.id, task=None, version=vm.version, deleted_at=None).update(
        task=task, status=Status.DEPLOYING, version=F("version") + 1, updated_at=timezone.now(), error_message="",
        error_reason="", node_rebooted=False,
    )  # fmt: skip
    if taken:
        console.close_consoles(vm.id)
        logs.record(vm.id, "warning", why)
    else:
        task.delete()


@atomic
def _clean_up_again(node: Node) -> None:
    """Deleted VMs whose clean-up was given up, as of a node that was lost and is back. One that killed workers, or met
    with a fault of ours, is left alone for some time."""
    failed = Task.objects.filter(subject_id=OuterRef("pk"), type="vm-delete", finished_at__gt=Now() - _LEFT_ALONE)
    left_alone = Exists(failed.filter(outcome__reason__in=("deaths", "bug")))
    waiting = VirtualMachine.objects.filter(node=node, deployed=True, task=None, deleted_at__isnull=False)
    for vm in waiting.exclude(left_alone)[:100]:
        task = _system_task(vm, "vm-delete")
        if not VirtualMachine.objects.filter(pk=vm.id, task=None, version=vm.version).update(
            task=task, version=F("version") + 1
        ):
            task.delete()


def bury(node: Node, seconds: float = inf) -> None:
    """A node marked lost: its tasks fail and its VMs are in error, until it is back or they are forgotten. What takes
    longer is left to the next sweep."""
    until = time.monotonic() + seconds
    reason = f"{node.name} is marked lost. An operator can forget the VM, or bring the node back."
    its = Q(node_id=node.id) | Q(subject_id=node.id)
    known = Task.objects.filter(its, status__in=OPEN, type__in=list(registry.types))
    later = f"{node.name} is marked lost. The VM is removed there when that is back, if it was not forgotten."
    for task_id, name in known.values_list("id", "type"):
        if time.monotonic() > until or not _is_lost(node):
            return
        abort(task_id, reason="lost", error=later if name == "vm-delete" else reason)
        pulse.beat()
    while time.monotonic() < until and _bury_some(node, reason):
        pulse.beat()


def _is_lost(node: Node) -> bool:
    """Now: it may have been taken back since it was read."""
    return Node.objects.filter(pk=node.pk, lost=True).exists()


@atomic
def _bury_some(node: Node, reason: str) -> bool:
    """In one step, for there may be thousands; False where there are no more."""
    if not _is_lost(node):
        return False
    # No join: the database looks at these columns once more where it has waited for somebody else's change of a row.
    rows = VirtualMachine.objects.alive().filter(node=node, deployed=True, task=None)
    rows = rows.exclude(status=Status.ERROR, error_reason=NODE_LOST).order_by()
    some = list(rows.values_list("id", flat=True)[:_AT_ONCE])
    now = timezone.now()
    rows.filter(pk__in=some).update(
        status=Status.ERROR, error_message=reason, error_reason=NODE_LOST, version=F("version") + 1, updated_at=now
    )
    # Others may have acted on some of them meanwhile.
    of_this = VirtualMachine.objects.filter(pk__in=some, error_reason=NODE_LOST, updated_at=now).order_by()
    buried = list(of_this.values_list("id", flat=True))
    logs.record_each(buried, "error", reason)
    console.close_consoles(*buried)
    return bool(buried)


def _system_task(vm: VirtualMachine, task_type: str) -> Task:
    return enqueue(
        task_type,
        subject_id=vm.id,
        node_id=vm.node_id,
        org_id=vm.organization_id,
        created_by=None,
        payload=as_it_was(vm),
    )
