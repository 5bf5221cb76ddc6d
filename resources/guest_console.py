"""What guests write to their serial consoles: read on their nodes by workers, kept so that it can be shown at once.

Of each VM the newest lines are kept, in one row. A console that has not grown is not read again. What was read and does
not reach back to the guest's start comes behind what is kept, so that a long run loses nothing of it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from django.db.models import Q
from django.utils import timezone

from common.db import atomic
from nodes.models import Node
from nodes.queries import node_ref
from resources.looks import Looks
from resources.models import GuestConsole, VirtualMachine
from resources.specs import vm_spec, vm_specs
from resources.states import Status
from vmbackends import get_backend
from vmbackends.base import ConsoleTail, LogLine
from vmbackends.errors import BackendError

log = logging.getLogger(__name__)

Row = tuple[float, str]  # a moment, and what was written then

MOST_LINES = 1000
LOOK_SECONDS = 40.0

_looks: Looks[Mapping[str, ConsoleTail]] = Looks(LOOK_SECONDS)


def read_all() -> None:
    """Read those of all guests that may have written something, on all nodes at once."""
    if get_backend().capabilities.local_reads:
        return
    nodes = {node.id: node for node in Node.objects.filter(online=True, lost=False)}
    calls = {node.id: _reading(node) for node in nodes.values()}
    writing = {node_id: call for node_id, call in calls.items() if call is not None}
    for tails in _looks.good(writing, nodes, "consoles of a node could not be read"):
        _keep(tails)


def read_one(vm: VirtualMachine) -> None:
    """Read that of one guest, in this thread: before it is taken away, or when it has come up. Raises nothing of its
    node: what a guest has said is worth no task."""
    backend = get_backend()
    if backend.capabilities.local_reads:
        return
    try:
        _keep(backend.console_tails(node_ref(vm.node), {vm_spec(vm): None}, MOST_LINES))
    except BackendError as e:
        log.info("a console could not be read", extra={"vm": vm.id, "reason": e.message})


def lines(vm: VirtualMachine, since: datetime | None) -> list[LogLine]:
    """What is kept of it, oldest first."""
    kept = GuestConsole.objects.filter(vm_id=vm.id).values_list("lines", flat=True).first() or []
    found = [LogLine(datetime.fromtimestamp(at, UTC), "info", text) for at, text in kept]
    return [line for line in found if since is None or line.timestamp >= since]


def forget(vm_id: str) -> None:
    GuestConsole.objects.filter(vm_id=vm_id).delete()


def _reading(node: Node) -> Callable[[], Mapping[str, ConsoleTail]] | None:
    """A call for a thread of its own, which leaves the database alone; None where nobody writes."""
    writing = Q(status__in=(Status.RUNNING, Status.DEPLOYING, Status.STOPPING, Status.ERROR))
    vms = list(
        VirtualMachine.objects.alive().filter(writing, node=node, deployed=True).select_related("node", "organization")
    )
    if not vms:
        return None
    read = dict(GuestConsole.objects.filter(vm_id__in=[vm.id for vm in vms]).values_list("vm_id", "size_bytes"))
    backend, ref = get_backend(), node_ref(node)
    known = {spec: read.get(spec.id) for spec in vm_specs(vms)}
    return lambda: backend.console_tails(ref, known, MOST_LINES)


def _keep(tails: Mapping[str, ConsoleTail]) -> None:
    for vm_id, tail in tails.items():
        _write(vm_id, tail)


@atomic
def _write(vm_id: str, tail: ConsoleTail) -> None:
    rows = [(line.timestamp.timestamp(), line.message[:1000]) for line in tail.lines]
    if not tail.dated:
        kept = GuestConsole.objects.filter(vm_id=vm_id).values_list("lines", flat=True).first() or []
        rows = _joined([(at, text) for at, text in kept], rows)[-MOST_LINES:]
    GuestConsole.objects.update_or_create(vm_id=vm_id, defaults={"lines": rows, "size_bytes": tail.size_bytes})


def _joined(kept: Sequence[Row], read: Sequence[Row]) -> list[Row]:
    """What is kept, and what of that which was read is not among it: it begins anywhere in what is kept, or behind. It
    is no older than what is kept, and not from the future."""
    before, texts = [text for _, text in kept], [text for _, text in read]
    again = next((n for n in range(min(len(kept), len(read)), 0, -1) if _overlaps(before[-n:], texts[:n])), 0)
    now = timezone.now().timestamp()
    newest = kept[-1][0] if kept else 0.0
    if again:  # the last of those kept may have been half a line when it was read
        kept, read = kept[:-1], [(newest, texts[again - 1]), *read[again:]]
    return [*kept, *((min(max(at, newest), now), text) for at, text in read)]


def _overlaps(end: Sequence[str], beginning: Sequence[str]) -> bool:
    return end[:-1] == beginning[:-1] and beginning[-1].startswith(end[-1])
