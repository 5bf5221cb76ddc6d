"""Room on a node: vCPUs, RAM and disk that VMs are promised. `Node.used_*` is changed here and nowhere else.

Each change is one conditional update of all three, so that two at once never both get the last of it.
"""

import logging
from dataclasses import astuple, dataclass
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest

from common.db import atomic, whole
from common.errors import Conflict
from nodes.models import Node

log = logging.getLogger(__name__)

_ANY = Node.objects.all()
_TAKES_NEW = Node.objects.filter(enabled=True, lost=False, to_compare=False)
_LIMITS: dict[str, Combinable] = {
    "vcpus": F("cap_vcpus") * F("vcpu_overcommit"),
    "ram_mb": F("cap_ram_mb"),
    "disk_gb": F("cap_disk_gb"),
}


@dataclass(frozen=True)
class Room:
    vcpus: int = 0
    ram_mb: int = 0
    disk_gb: int = 0

    def __add__(self, other: "Room") -> "Room":
        return Room(self.vcpus + other.vcpus, self.ram_mb + other.ram_mb, self.disk_gb + other.disk_gb)

    def __sub__(self, other: "Room") -> "Room":
        return Room(self.vcpus - other.vcpus, self.ram_mb - other.ram_mb, self.disk_gb - other.disk_gb)


def capacity(node: Node) -> Room:
    """What may be promised of it: the vCPUs with the overcommit."""
    return Room(node.vcpu_limit, node.cap_ram_mb, node.cap_disk_gb)


def allocated(node: Node) -> Room:
    return Room(node.used_vcpus, node.used_ram_mb, node.used_disk_gb)


def free(node: Node) -> Room:
    """Never less than none, also where an operator has lowered the capacity below what is promised."""
    left = capacity(node) - allocated(node)
    return Room(max(0, left.vcpus), max(0, left.ram_mb), max(0, left.disk_gb))


@atomic
def reserve(node_id: str, room: Room, new: bool = True) -> None:
    """Promise room. For a `new` VM the node must also be enabled, not lost, and looked at; else it is for a snapshot of
    one that is there. Raises Conflict."""
    if not _add(node_id, room, _TAKES_NEW if new else _ANY):
        advice = "Ask for less, or choose another node." if new else "Delete snapshots or VMs that are there first."
        raise _refusal(node_id, room, advice, new=new)


@atomic
def change(node_id: str, before: Room, after: Room) -> None:
    """Promise a VM `after` instead of `before`. What does not grow needs no room. Raises Conflict."""
    growth = after - before
    if growth != Room() and not _add(node_id, growth, _ANY):
        raise _refusal(node_id, growth, "Ask for less.", more=True)


@atomic
def count(node_id: str, room: Room) -> None:
    """Count what is on the node already, whatever its limits say."""
    more = {f"used_{name}": F(f"used_{name}") + getattr(room, name) for name in ("vcpus", "ram_mb", "disk_gb")}
    Node.objects.filter(pk=node_id).update(**more)


def give_back(node_id: str, room: Room) -> None:
    """Take a promise back. Never fails: where so much was never promised the books are wrong, and a recount is due."""
    if _add(node_id, Room() - room, _ANY):
        return
    log.error("more room given back than was promised: recount it", extra={"node": node_id, "room": str(room)})
    names = ("vcpus", "ram_mb", "disk_gb")
    left = {f"used_{name}": Greatest(F(f"used_{name}") - getattr(room, name), 0) for name in names}
    Node.objects.filter(pk=node_id).update(**left)


def _add(node_id: str, room: Room, nodes: QuerySet[Node]) -> bool:
    fits: dict[str, Any] = {}
    added: dict[str, Any] = {}
    for name, limit in _LIMITS.items():
        amount = getattr(room, name)
        if amount > 0:
            fits[f"used_{name}__lte"] = limit - whole(amount)
        elif amount < 0:
            fits[f"used_{name}__gte"] = -amount
        added[f"used_{name}"] = F(f"used_{name}") + whole(amount)
    return nodes.filter(pk=node_id, **fits).update(**added) == 1


def _refusal(node_id: str, room: Room, advice: str, *, new: bool = False, more: bool = False) -> Conflict:
    node = Node.objects.filter(pk=node_id).first()
    if node is None:
        return Conflict("The node was deleted.")
    if new and node.lost:
        return Conflict(f"{node.name} is lost and takes no new VMs. Choose another node.")
    if new and not node.enabled:
        return Conflict(f"{node.name} is in maintenance and takes no new VMs. Choose another node.")
    if new and node.to_compare:
        return Conflict(
            f"{node.name} takes new VMs when a worker has looked at it, which is within a minute of its answering. Try "
            "again then, or choose another node."
        )
    left = free(node)
    kind = "more " if more else ""  # an edit asks for what it adds alone
    short = [
        f"{wanted} {kind}{unit} requested, {there} free"
        for wanted, there, unit in zip(astuple(room), astuple(left), ("vCPUs", "MB of RAM", "GB of disk"), strict=True)
        if wanted > there
    ]
    if not short:
        return Conflict(f"The room on {node.name} changed in this moment. Try again.")
    return Conflict(f"{node.name} has no room for it: {'; '.join(short)}. {advice}")
