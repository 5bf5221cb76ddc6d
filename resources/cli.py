"""What `manage.py vm` is made of: who acts, which VM is meant, how a fault reads, and the wait for tasks."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep

from django.core.management.base import CommandError
from django.db.models import Q
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from accounts import audit
from accounts.actors import Actor, acting_as
from accounts.authentication import owning_org
from accounts.models import Organization
from common.errors import DomainError, Locked, NotFound, QuotaExceeded, ValidationFailed
from common.ids import is_object_id
from nodes.models import Node
from resources.models import VirtualMachine
from resources.queries import visible
from resources.shell import NoWorker, WaitedInVain
from tasks.models import Task, Worker

POLL_S = 0.3


@contextmanager
def acting(username: str | None) -> Iterator[Actor]:
    """Act as this user, else as the one that AIWM_USER names; refused with neither. What goes wrong by the rules
    of the product comes out as a CommandError in plain words."""
    name = username or os.environ.get("AIWM_USER", "")
    if not name:
        raise CommandError("Say who acts: --as USERNAME, or set AIWM_USER in the environment.")
    try:
        with acting_as(name) as actor:
            yield actor
    except DomainError as e:
        raise CommandError(in_words(e)) from e
    except (NoWorker, WaitedInVain) as e:
        raise CommandError(str(e)) from e


# Which one is meant


def find_vm(actor: Actor, reference: str) -> VirtualMachine:
    """A VM by its id or by a name that only one has, of those that the actor sees."""
    vms = visible(actor).select_related("node", "organization")
    vm_id = reference.removeprefix("vm-")
    if is_object_id(vm_id):
        by_id = vms.filter(pk=vm_id).first()
        if by_id is not None:
            return by_id
        _keep_attempt(actor, vm_id)
    named = list(vms.filter(name=reference).order_by("id")[:6])
    if not named:
        raise CommandError(f"There is no VM {reference!r}.")
    if len(named) > 1:
        ids = "".join(f"\n  {vm.id}  {vm.status}, {vm.organization}, on {vm.node}" for vm in named)
        raise CommandError(f"Several VMs are named {reference!r}. Name one by its id:{ids}")
    return named[0]


def _keep_attempt(actor: Actor, vm_id: str) -> None:
    """Somebody else's VM is not found, and that it was asked for is kept."""
    org_id = VirtualMachine.objects.filter(pk=vm_id).exclude(organization_id=actor.org_id).values_list(
        "organization_id", flat=True
    ).first()  # fmt: skip
    if org_id is not None:
        audit.refused(
            actor, "vm.find", code=NotFound.code, detail="There is no such VM", object_type="vm", object_id=vm_id,
            org_id=org_id,
        )  # fmt: skip


def find_vms(actor: Actor, references: Sequence[str]) -> list[VirtualMachine]:
    """Each of them once. Nothing is done to any where one is not found."""
    return list({vm.id: vm for vm in (find_vm(actor, reference) for reference in references)}.values())


def find_node(reference: str) -> Node:
    node = Node.objects.filter(Q(pk=reference) | Q(name=reference)).first()
    if node is None:
        names = ", ".join(Node.objects.values_list("name", flat=True)[:20]) or "none"
        raise CommandError(f"There is no node {reference!r}. There are: {names}.")
    return node


def find_org(actor: Actor, reference: str | None) -> str:
    """The id of the organization that will own what the actor creates: their own, or for an operator another."""
    if reference is None:
        return actor.org_id
    organization = Organization.objects.filter(Q(pk=reference) | Q(name=reference)).first()
    owner: str = owning_org(actor, organization.id if organization else reference)
    return owner


# How a fault reads

# The options of `vm create` by the API's field paths.
OPTIONS = {
    "name": "--name",
    "description": "--description",
    "nodeId": "--node",
    "config.osImage": "--image",
    "config.vcpus": "--vcpus",
    "config.ramMB": "--ram-gb or --ram-mb",
    "config.diskGB": "--disk-gb",
    "config.gpuConfig.deviceIds": "--gpu",
    "config.gpuConfig.migProfile": "--mig",
    "config.networkConfig.ipAddress": "--ip",
    "config.networkConfig.netmask": "--netmask",
    "config.networkConfig.gateway": "--gateway",
    "config.networkConfig.vlanId": "--vlan",
    "config.cloudInit.hostname": "--hostname",
    "config.cloudInit.username": "--username",
    "config.cloudInit.sshPublicKey": "--ssh-key-file",
    "config.cloudInit.password": "--password-stdin",
}


def in_words(error: DomainError) -> str:
    """The message, with every fault of the fields and every resource that is short."""
    match error:
        case ValidationFailed():
            faults = (f"\n  {_field(fault.field)}: {fault.message}" for fault in error.errors)
            return f"Some fields are wrong:{''.join(faults)}"
        case QuotaExceeded():
            short = error.extra["quota"].items()
            lines = (f"\n  {n}: {q['requested']} more on {q['used']} of {q['limit']}" for n, q in short)
            return f"{error.message}{''.join(lines)}"
        case Locked() if "taskId" in error.extra:
            return f"{error.message} ({error.extra['taskId']})"
        case _:
            return error.message


def _field(path: str) -> str:
    option = OPTIONS.get(path)
    return f"{path} ({option})" if option else path


# The wait for tasks


def wait_for(console: Console, tasks: Mapping[str, Task], timeout_s: float) -> dict[str, Task]:
    """Show these tasks, by the names given, until all have ended; gives them as they ended.

    On a terminal there is a bar for each; elsewhere a line for each change. Raises NoWorker at once where none
    lives, WaitedInVain when the time is over.
    """
    if not console.is_terminal:
        return _poll(tasks, timeout_s, _Lines(console))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        bars = {name: progress.add_task(Text(name).markup, total=100, message="") for name in tasks}

        def show(name: str, task: Task) -> None:
            progress.update(bars[name], completed=task.progress, message=_state(task))

        return _poll(tasks, timeout_s, show)


class _Lines:
    """Prints what has changed since the last look."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, str] = {}

    def __call__(self, name: str, task: Task) -> None:
        line = f"{name}: {task.progress:3d} % {_state(task)}"
        if self._last.get(name) != line:
            self._last[name] = line
            self._console.print(line)


def _state(task: Task) -> str:
    return f"{task.status}: {task.message}" if task.is_open and task.message else task.status


def _poll(tasks: Mapping[str, Task], timeout_s: float, show: Callable[[str, Task], None]) -> dict[str, Task]:
    until = monotonic() + timeout_s
    while True:
        rows = Task.objects.in_bulk([task.id for task in tasks.values()])
        now = {name: rows[task.id] for name, task in tasks.items()}
        for name, task in now.items():
            show(name, task)
        still_open = ", ".join(task.public_id for task in now.values() if task.is_open)
        if not still_open:
            return now
        if not Worker.objects.alive().exists():
            raise NoWorker(f"No worker lives, so {still_open} waits for one. Start it: `manage.py worker`.")
        if monotonic() >= until:
            raise WaitedInVain(f"Not done after {timeout_s:g} s, and still going on: {still_open}")
        sleep(POLL_S)
