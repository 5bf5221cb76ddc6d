"""What is, brought together with what should be: one bulk look at each node, every `SWEEP_SECONDS`.

Power flows from the node to the database. A node that does not answer changes no status. A VM with a task is
left to it. No row is deleted, and no domain touched, because the two do not agree.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from django.db.models import F
from django.utils import timezone

from common.db import atomic
from nodes import sweep
from nodes.models import Node
from nodes.queries import node_ref
from resources import console, logs
from resources.models import VirtualMachine
from resources.settle import NODE_ABSENT
from resources.specs import vm_specs
from resources.states import Status
from tasks.models import OPEN, Task
from tasks.queue import abort, enqueue
from vmbackends import get_backend
from vmbackends.base import DomainState, Power
from vmbackends.errors import BackendError, NodeUnreachable

log = logging.getLogger(__name__)

NODE_LOST = "node_lost"


def sweep_all() -> None:
    """Look at every node that is not lost, and put the VMs of lost ones right."""
    for node in Node.objects.all():
        if node.lost:
            bury(node)
        else:
            try:
                sweep_node(node)
            except DatabaseError:
                raise
            except Exception:  # one node that nobody foresaw must not hide the others
                log.exception("sweep failed", extra={"node": node.name})


def sweep_node(node: Node) -> None:
    vms = list(
        VirtualMachine.objects.alive()
        .filter(node=node, deployed=True, task=None)
        .select_related("organization", "node")
    )
    try:
        seen = get_backend().observe(node_ref(node), vm_specs(vms))
    except NodeUnreachable as e:
        if node.online:
            log.warning("node out of reach", extra={"node": node.name, "reason": e.message})
        sweep.mark_unseen(node)
        return
    except BackendError as e:
        log.warning("node could not be observed", extra={"node": node.name, "reason": e.message})
        return
    rebooted = bool(node.boot_id) and seen.boot_id != node.boot_id
    # The states first: were the worker to die between, the next sweep would still know that the node was rebooted.
    for vm in vms:
        state = seen.domains.get(vm.id)
        if state is not None:
            settle_observation(vm, state, rebooted)
    sweep.mark_seen(node, seen.boot_id)
    _clean_up_again(node)


def settle_observation(vm: VirtualMachine, state: DomainState, rebooted: bool) -> None:
    """Bring one VM's row to what its node shows."""
    if rebooted and vm.desired_on and state.power is Power.OFF and _was_on(vm):
        _start_again(vm, "The node was restarted; the VM is started again")
        return
    if vm.started_at is None and vm.desired_on and state.power is Power.RUNNING and _was_on(vm):
        # Its first deploy was given up, and yet it runs: its seed, with the password, is still to be removed.
        _start_again(vm, "The node is back; the deploy is brought to its end")
        return
    columns = _columns_for(vm, state)
    if columns:
        _write(vm, columns, state)


def _was_on(vm: VirtualMachine) -> bool:
    return vm.status == Status.RUNNING or (vm.status == Status.ERROR and vm.error_reason in (NODE_ABSENT, NODE_LOST))


def _columns_for(vm: VirtualMachine, state: DomainState) -> Mapping[str, Any]:
    now = timezone.now()
    came_back = vm.status == Status.ERROR and vm.error_reason in (NODE_ABSENT, NODE_LOST)
    well = {"error_message": "", "error_reason": ""}
    if vm.status == Status.RUNNING or came_back or vm.status == Status.STOPPED:
        match state.power:
            case Power.RUNNING if vm.status != Status.RUNNING:
                return {"status": Status.RUNNING, "desired_on": True, "started_at": vm.started_at or now,
                        "stopped_at": None, **well, **_address(vm, state)}  # fmt: skip
            case Power.RUNNING:
                return _address(vm, state)
            case Power.OFF if vm.status != Status.STOPPED:
                return {"status": Status.STOPPED, "desired_on": False, "stopped_at": now, **well}
            case Power.PAUSED | Power.CRASHED | Power.MISSING:
                return {"status": Status.ERROR, "error_message": _why(state), "error_reason": ""}
    return {}


def _address(vm: VirtualMachine, state: DomainState) -> dict[str, Any]:
    return {"ip_address": state.ip_address} if state.ip_address and state.ip_address != vm.ip_address else {}


def _why(state: DomainState) -> str:
    match state.power:
        case Power.MISSING:
            return "Its domain is gone from the node. Restart defines it anew from its disk; else delete it."
        case Power.PAUSED:
            return f"The guest is paused: {state.reason or 'for a reason unknown'}. Restart it, or stop it."
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
        logs.record(vm.id, "warning", f"The VM was seen off: {state.reason or 'shut down from within'}")
    elif status == Status.ERROR:
        logs.record(vm.id, "error", columns["error_message"])
    else:
        logs.record(vm.id, "info", "The VM was seen running")
    if status != Status.RUNNING:
        console.close_consoles(vm.id)


@atomic
def _start_again(vm: VirtualMachine, why: str) -> None:
    """What was meant to be on comes on again. The node's slots keep it to two at a time."""
    task = _system_task(vm, "vm-start")
    taken = VirtualMachine.objects.filter(pk=vm.id, task=None, version=vm.version, deleted_at=None).update(
        task=task, status=Status.DEPLOYING, version=F("version") + 1, updated_at=timezone.now(), error_message="",
        error_reason="",
    )  # fmt: skip
    if taken:
        logs.record(vm.id, "warning", why)
    else:
        task.delete()


@atomic
def _clean_up_again(node: Node) -> None:
    """Deleted VMs whose clean-up was given up, as of a node that was lost and is back."""
    waiting = VirtualMachine.objects.filter(node=node, deployed=True, task=None, deleted_at__isnull=False)
    for vm in waiting[:100]:
        task = _system_task(vm, "vm-delete")
        if not VirtualMachine.objects.filter(pk=vm.id, task=None, version=vm.version).update(
            task=task, version=F("version") + 1
        ):
            task.delete()


def bury(node: Node) -> None:
    """A node marked lost: its tasks fail and its VMs are in error, until it is back or they are forgotten."""
    reason = f"{node.name} is marked lost. An operator can forget the VM, or bring the node back."
    for task_id in Task.objects.filter(node_id=node.id, status__in=OPEN).values_list("id", flat=True):
        abort(task_id, reason="lost", error=reason)
    for vm in (
        VirtualMachine.objects.alive()
        .filter(node=node, deployed=True, task=None)
        .exclude(status=Status.ERROR, error_reason=NODE_LOST)
    ):
        lost = {"status": Status.ERROR, "error_message": reason, "error_reason": NODE_LOST}
        _write(vm, lost, DomainState(Power.MISSING))


def _system_task(vm: VirtualMachine, task_type: str) -> Task:
    return enqueue(
        task_type,
        subject_id=vm.id,
        node_id=vm.node_id,
        org_id=vm.organization_id,
        created_by=None,
        payload={"from": vm.status, "was_deployed": vm.deployed, "was_on": vm.desired_on},
    )
