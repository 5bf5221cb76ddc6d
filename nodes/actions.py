"""The one home of each change of a node. The API, the admin and commands call these; operators alone may."""

from collections.abc import Collection
from typing import Any

from django.db import IntegrityError
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.actors import Actor
from common.db import atomic
from common.errors import Conflict, PreconditionFailed
from nodes import claims, devices, lost
from nodes.hardware import set_gpus, set_images
from nodes.models import Gpu, Node, NodeImage, StrayAddress
from nodes.queries import find_node
from nodes.refresh import REFRESH
from nodes.requests import CapacityBody, CapacityPatch, NodeCreate, NodePatch, bridge_fault
from nodes.uris import hypervisor_of
from tasks.models import OPEN, Task
from tasks.queue import enqueue
from vmbackends import get_backend

# How VMs are put on a node, by the API's names.
SETTINGS = {
    "pool": "pool",
    "bridge": "bridge",
    "untaggedBridge": "untagged_bridge",
    "openvswitch": "openvswitch",
    "domainType": "domain_type",
    "cpuMode": "cpu_mode",
}
# What a body says by which the devices of domains are told.
_TELL_DEVICES = {"gpus", "bridge", "untagged_bridge", "openvswitch"}


def create(actor: Actor, body: NodeCreate) -> Node:
    """Raises Forbidden, ValidationFailed, or Conflict where the name or the hypervisor is another's."""
    try:
        return _create(actor, body)
    except IntegrityError as e:
        raise _name_taken(body.name) from e


def update(actor: Actor, node_id: str, body: NodePatch, versions: Collection[int] | None = None) -> Node:
    """Change what the body names. With `versions`, only if it is still one of these. Raises NotFound, Forbidden,
    ValidationFailed, PreconditionFailed, or Conflict for what VMs keep from being changed."""
    try:
        return _update(actor, node_id, body, versions)
    except IntegrityError as e:
        raise _name_taken(body.name) from e


@atomic
def delete(actor: Actor, node_id: str, versions: Collection[int] | None = None) -> None:
    """Take a node out. Raises NotFound, Forbidden, PreconditionFailed, or Conflict while VMs are on it.

    Every VM holds room until nothing of it is on the node any more, so a node that promises no room is empty; the
    row itself stays, because those of deleted VMs name it.
    """
    node = find_node(node_id)
    actor.require_operator()
    rows = _rows(node, versions).filter(used_vcpus=0, used_ram_mb=0, used_disk_gb=0)
    freed_name = f"{node.name[:75]}-{node.id}"
    if not rows.update(deleted_at=timezone.now(), name=freed_name, enabled=False, version=F("version") + 1):
        raise _refusal(
            node, versions, f"VMs are on {node.name}, or are still being removed from it. Delete them first."
        )
    before = summary(node)
    Gpu.objects.filter(node=node).delete()
    NodeImage.objects.filter(node=node).delete()
    StrayAddress.objects.filter(node=node).delete()
    claims.hold_for_strays()
    _record(actor, "node.delete", node, before, None)


def set_maintenance(actor: Actor, node_id: str, on: bool) -> Node:
    """In maintenance a node takes no new VMs; those on it can be started and stopped as ever."""
    return update(actor, node_id, NodePatch(enabled=not on))


def mark_lost(actor: Actor, node_id: str, lost: bool = True) -> Node:
    """Say that a node will not come back as it was, or take that back: it is in maintenance afterwards."""
    return update(actor, node_id, NodePatch(lost=lost))


@atomic
def refresh(actor: Actor, node_id: str) -> Task:
    """Ask a worker to look at the node. Gives the task of an earlier call if that is still open.

    Raises NotFound, Forbidden, or Conflict for a lost node.
    """
    node = find_node(node_id)
    actor.require_operator()
    if node.lost:
        raise Conflict(f'{node.name} is marked lost and is left alone. Take that back first (PATCH {{"lost": false}}).')
    task = Task.objects.filter(subject_id=node.id, type=REFRESH, status__in=OPEN).first()
    if task is None:
        # Of no node, as to the queue: it would pass over a node that is out of reach, and this finds out.
        task = enqueue(REFRESH, subject_id=node.id, node_id=None, org_id=None, created_by=actor.user_id)
        _record(actor, "node.refresh", node, None, {"taskId": task.public_id})
    return task


def summary(node: Node) -> dict[str, Any]:
    """What an operator may change of a node, as the audit trail keeps it."""
    gpus = Gpu.objects.filter(node=node).order_by("device_id")
    return {
        "name": node.name,
        "hostname": node.hostname,
        "segment": node.segment,
        "uri": node.uri,
        **{name: getattr(node, column) for name, column in SETTINGS.items()},
        "enabled": node.enabled,
        "lost": node.lost,
        "capacity": {"vcpus": node.cap_vcpus, "ramMB": node.cap_ram_mb, "diskGB": node.cap_disk_gb},
        "vcpuOvercommit": node.vcpu_overcommit,
        "gpus": [
            {
                "deviceId": gpu.device_id,
                "model": gpu.model,
                "memoryMB": gpu.memory_mb,
                "pciAddress": gpu.pci_address,
                "use": gpu.use,
            }
            for gpu in gpus
        ],
        "osImages": sorted(NodeImage.objects.filter(node=node).values_list("os_image", flat=True)),
    }


@atomic
def _create(actor: Actor, body: NodeCreate) -> Node:
    actor.require_operator()
    if Node.objects.filter(name=body.name).exists():
        raise _name_taken(body.name)
    _refuse_hypervisor_of_another(body.uri or "", Node.objects.all())
    node = Node.objects.create(**_columns(body), to_compare=_may_have_domains())
    set_gpus(node, body.gpus)
    set_images(node, body.os_images)
    _record(actor, "node.create", node, None, summary(node))
    return node


@atomic
def _update(actor: Actor, node_id: str, body: NodePatch, versions: Collection[int] | None) -> Node:
    node = find_node(node_id)
    actor.require_operator()
    before = summary(node)
    columns = _changes(node, body)
    # Addresses are claimed by segment, and disks are looked for in the pool.
    moved = [name for name in ("segment", "pool") if columns.get(name, getattr(node, name)) != getattr(node, name)]
    rows = _as_read(node, versions, body, columns)
    if moved:
        # No new VM can come in between: in maintenance there is no room for any.
        rows = rows.filter(enabled=False, used_vcpus=0, used_ram_mb=0, used_disk_gb=0)
    if not rows.update(**columns, version=F("version") + 1, updated_at=timezone.now()):
        reason = (
            f"The {' and '.join(moved)} of {node.name} can be changed in maintenance and without VMs only."
            if moved
            else f"{node.name} was changed in this moment. Try again."
        )
        raise _refusal(node, versions, reason)
    _set_what_it_has(node, body)
    if "lost" in columns:
        (lost.went if columns["lost"] else lost.hold)(node)
    if moved:
        claims.hold_for_strays()
    node.refresh_from_db()
    _record(actor, "node.update", node, before, summary(node))
    return node


def _changes(node: Node, body: NodePatch) -> dict[str, Any]:
    """The columns that a body names, with what follows from them. Raises Conflict."""
    columns = _columns(body)
    for name in ("lost", "enabled"):
        if columns.get(name) == getattr(node, name):
            del columns[name]
    if "lost" in columns:
        # Back from being lost it stays in maintenance, until an operator has seen that its domains are as they should.
        columns |= {"enabled": False, "to_compare": not columns["lost"]}
    if Node.objects.filter(name=columns.get("name", node.name)).exclude(pk=node.pk).exists():
        raise _name_taken(body.name)
    if columns.get("uri", node.uri) != node.uri:
        _refuse_hypervisor_of_another(columns["uri"], Node.objects.exclude(pk=node.pk))
        if _may_have_domains() and not node.lost:  # that is looked at when it is taken back
            columns["to_compare"] = True
    _refuse_together(node, columns)
    return columns


def _as_read(node: Node, versions: Collection[int] | None, body: NodePatch, columns: dict[str, Any]) -> QuerySet[Node]:
    """The node's row, if what decided about the change is still as it was read."""
    rows = _rows(node, versions).filter(bridge=node.bridge, openvswitch=node.openvswitch)  # which a rule joins
    if "enabled" in body.model_fields_set and "enabled" not in columns:
        rows = rows.filter(enabled=node.enabled)
    if columns.get("enabled"):
        rows = rows.filter(lost=False, to_compare=False)
    return rows


def _set_what_it_has(node: Node, body: NodePatch) -> None:
    if "gpus" in body.model_fields_set:
        set_gpus(node, body.gpus)
        if node.to_compare and not node.lost:
            lost.hold(node)
    if node.strays and body.model_fields_set & _TELL_DEVICES:
        devices.look_soon(node)
    if "os_images" in body.model_fields_set:
        set_images(node, body.os_images)


def _refuse_together(node: Node, columns: dict[str, Any]) -> None:
    """What would not go together with what is not changed. Raises Conflict."""
    if columns.get("enabled") and node.lost:
        raise Conflict(f"{node.name} is marked lost. Take that back first.")
    if columns.get("enabled") and node.to_compare:
        raise Conflict(
            f"What domains are on {node.name} has not been looked at yet. A worker does that within a minute of its "
            "answering; see then what `manage.py nodes check` tells of them."
        )
    fault = bridge_fault(columns.get("bridge", node.bridge), columns.get("openvswitch", node.openvswitch))
    if fault is not None:
        raise Conflict(f"The bridge of {node.name} would not do. {fault}.")


def _columns(body: NodeCreate | NodePatch) -> dict[str, Any]:
    """The columns that a body names; of a new node all."""
    named = body.model_fields_set if isinstance(body, NodePatch) else set(type(body).model_fields)
    columns: dict[str, Any] = {
        name: getattr(body, name)
        for name in (
            "name", "hostname", "segment", "pool", "bridge", "untagged_bridge", "openvswitch", "enabled",
            "vcpu_overcommit",
        )
        if name in named
    }  # fmt: skip
    columns |= {name: getattr(body, name) or "" for name in ("uri", "domain_type", "cpu_mode") if name in named}
    if "capacity" in named:
        columns |= _capacity_columns(body.capacity)
    if isinstance(body, NodePatch) and "lost" in named:
        columns["lost"] = body.lost
    return columns


def _capacity_columns(capacity: CapacityBody | CapacityPatch) -> dict[str, int]:
    return {f"cap_{name}": getattr(capacity, name) for name in capacity.model_fields_set}


def _rows(node: Node, versions: Collection[int] | None) -> QuerySet[Node]:
    rows = Node.objects.filter(pk=node.pk)
    return rows if versions is None else rows.filter(version__in=versions)


def _refusal(node: Node, versions: Collection[int] | None, reason: str) -> Conflict | PreconditionFailed:
    if versions is not None and not _rows(node, versions).exists():
        return PreconditionFailed(f"{node.name} was changed since you read it. Read it again.")
    return Conflict(reason)


def _refuse_hypervisor_of_another(uri: str, others: QuerySet[Node]) -> None:
    """Its capacity would be promised twice, and each node take the other's VMs for strays. Raises Conflict."""
    hypervisor = hypervisor_of(uri) if uri else None
    if hypervisor is None:
        return
    for other in others.exclude(uri=""):
        if hypervisor_of(other.uri) == hypervisor:
            mend = " It is marked lost: take that back, or forget its VMs and delete it." if other.lost else ""
            raise Conflict(f"{other.name} is this hypervisor already: its URI leads to the same libvirt.{mend}")


def _may_have_domains() -> bool:
    """Whether there may be some on a node, of others or of a node of before, that a worker is to look at first."""
    return not get_backend().capabilities.local_reads


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a node named {name} already.")


def _record(actor: Actor, action: str, node: Node, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    audit.record(actor, action, object_type="node", object_id=node.id, org_id=None, before=before, after=after)
