"""What operators may do to VMs in the admin: each verb, what it will do to a VM, and the doing, VM by VM."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings

from accounts import audit
from accounts.actors import Actor
from common.errors import Conflict, DomainError, NotFound
from common.ids import is_object_id
from resources import actions, vlans
from resources.models import VirtualMachine
from resources.states import Action
from tasks.models import Task


@dataclass(frozen=True)
class Verb:
    """`do` changes one VM by its action. `refuse` raises what `do` would raise now, as far as that is known
    beforehand; `effect` says what will happen. `permission` is one of the admin's: `operate` or `remove`."""

    name: str
    title: str
    permission: str
    do: Callable[[Actor, str], Task | None]
    refuse: Callable[[VirtualMachine], None]
    effect: Callable[[VirtualMachine], str]
    done: str
    dangerous: bool = False


@dataclass(frozen=True)
class Preview:
    """What a verb will do to one VM, or why it cannot."""

    vm: VirtualMachine
    possible: bool
    text: str


@dataclass(frozen=True)
class Outcome:
    """How it went with one VM."""

    name: str
    ok: bool
    text: str


def preview(verb: Verb, vm: VirtualMachine) -> Preview:
    try:
        verb.refuse(vm)
    except DomainError as e:
        return Preview(vm, possible=False, text=e.message)
    return Preview(vm, possible=True, text=verb.effect(vm))


def run(verb: Verb, actor: Actor, vm_ids: Iterable[str]) -> list[Outcome]:
    """Do it to each, in this order. What one VM refuses keeps none of the others from it."""
    wanted = list(dict.fromkeys(vm_ids))
    rows = VirtualMachine.objects.filter(pk__in=[vm_id for vm_id in wanted if is_object_id(vm_id)])
    known = {vm_id: (name, org_id) for vm_id, name, org_id in rows.values_list("id", "name", "organization_id")}
    return [_run_one(verb, actor, vm_id, *known.get(vm_id, (None, None))) for vm_id in wanted]


def _run_one(verb: Verb, actor: Actor, vm_id: str, name: str | None, org_id: str | None) -> Outcome:
    if name is None:
        return Outcome(vm_id[:24], ok=False, text="There is no such VM")
    action = f"vm.{verb.name.removeprefix('force_')}"
    try:
        with audit.attempt(actor, action, object_type="vm", object_id=vm_id, org_id=org_id):
            task = verb.do(actor, vm_id)
    except DomainError as e:
        return Outcome(name, ok=False, text=e.message)
    return Outcome(name, ok=True, text=f"{verb.done} ({task.public_id})" if task else verb.done)


# What each verb asks of a VM, and what it will do


def _needs(action: Action, *, node: bool = True, network: bool = False) -> Callable[[VirtualMachine], None]:
    def refuse(vm: VirtualMachine) -> None:
        if vm.deleted_at is not None:
            raise NotFound("This VM is deleted")
        actions.require(vm, action, None)
        if node:
            actions.require_node(vm.node)
        if network:
            vlans.require_open(vm)

    return refuse


def _needs_lost_node(vm: VirtualMachine) -> None:
    if not vm.node.lost:
        raise Conflict(f"{vm.node.name} is not marked lost: its VMs are deleted, not forgotten.")
    if vm.deleted_at is not None and not vm.deployed:
        raise NotFound("This VM is deleted and holds nothing")


def _start_effect(vm: VirtualMachine) -> str:
    if vm.deployed:
        return f"It is powered on, on {vm.node.name}."
    return f"It is deployed on {vm.node.name} ({vm.disk_gb} GB of disk, image {vm.os_image}) and powered on."


def _stop_effect(_vm: VirtualMachine) -> str:
    return f"Its guest is asked to shut down; after {settings.SHUTDOWN_SECONDS:g} s the power is cut."


def _force_stop_effect(_vm: VirtualMachine) -> str:
    return "Its power is cut at once: what its guest has not written to disk is lost."


def _restart_effect(_vm: VirtualMachine) -> str:
    return (
        f"Its guest is asked to shut down, after {settings.SHUTDOWN_SECONDS:g} s the power is cut, and it is powered "
        "on again."
    )


def _delete_effect(vm: VirtualMachine) -> str:
    if not vm.deployed:
        return "It is hidden, and what it has reserved is free at once: nothing of it is on a node."
    return (
        f"It is hidden at once; its domain and disks on {vm.node.name} are removed, with all data and snapshots. Then "
        "its GPUs, address, room and quota are free."
    )


def _forget_effect(vm: VirtualMachine) -> str:
    return (
        f"It is hidden, and its GPUs, address, room and quota are free at once, though nobody has seen {vm.node.name} "
        "let go of it. Be sure that the node is off for good."
    )


def _force_stop(actor: Actor, vm_id: str) -> Task:
    return actions.stop(actor, vm_id, force=True)


START = Verb(
    "start", "Start", "operate", actions.start, _needs(Action.START, network=True), _start_effect, "start requested"
)
STOP = Verb("stop", "Stop", "operate", actions.stop, _needs(Action.STOP), _stop_effect, "stop requested")
FORCE_STOP = Verb(
    "force_stop", "Force stop", "operate", _force_stop, _needs(Action.STOP), _force_stop_effect,
    "stop by force requested", dangerous=True,
)  # fmt: skip
RESTART = Verb(
    "restart", "Restart", "operate", actions.restart, _needs(Action.RESTART, network=True), _restart_effect,
    "restart requested",
)  # fmt: skip
DELETE = Verb(
    "delete", "Delete", "remove", actions.delete, _needs(Action.DELETE, node=False), _delete_effect, "deleted",
    dangerous=True,
)  # fmt: skip
FORGET = Verb(
    "forget", "Forget", "remove", actions.forget, _needs_lost_node, _forget_effect, "forgotten", dangerous=True
)

VERBS: Sequence[Verb] = (START, STOP, FORCE_STOP, RESTART, DELETE, FORGET)


def possible_verbs(vm: VirtualMachine) -> list[Verb]:
    """Those that this VM allows now."""
    return [verb for verb in VERBS if preview(verb, vm).possible]
