"""The one home of each change of a snapshot. Written on the pieces of `resources.actions`, under the same rules."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import F
from django.utils import timezone

from accounts import audit, quotas
from accounts.actors import Actor
from accounts.quotas import Usage
from common.db import atomic
from common.errors import Conflict, NotFound, Unsupported
from common.ids import strip_prefix
from nodes import room
from nodes.queries import node_ref
from nodes.room import Room
from resources import logs, vlans
from resources.actions import claim, enqueue_for, ready_for
from resources.config import NetworkConfig
from resources.models import VirtualMachine
from resources.queries import find_vm
from resources.specs import vm_spec
from resources.states import Action, Status
from snapshots.models import Snapshot, SnapshotStatus
from snapshots.requests import SnapshotBody
from tasks.models import Task
from vmbackends import get_backend
from vmbackends.base import SnapshotSpec

# What a restore is told to take: a minute, and a second for each GB of disk.
RESTORE_BASE_S = 60


@dataclass(frozen=True)
class Restore:
    """A restore that has begun. `estimated_s` is what the API shows as `estimatedTime`."""

    task: Task
    estimated_s: int


def snapshot_spec(snapshot: Snapshot) -> SnapshotSpec:
    return SnapshotSpec(snapshot.id, snapshot.name, snapshot.with_memory, snapshot.created_at)


def find_snapshot(vm: VirtualMachine, public_id: str) -> Snapshot:
    """A snapshot of this VM. Raises NotFound, also for another VM's."""
    snapshot_id = strip_prefix(public_id, "snapshot")
    snapshot = Snapshot.objects.filter(vm=vm, pk=snapshot_id).first() if snapshot_id else None
    if snapshot is None:
        raise NotFound("There is no such snapshot")
    return snapshot


@atomic
def take(actor: Actor, vm_id: str, body: SnapshotBody, if_match: Collection[int] | None = None) -> Snapshot:
    """Take a snapshot. Where the backend does it at once it is `completed`; else it is `creating`, with a task.

    Raises Conflict for a name that is taken or where there is no room, QuotaExceeded, Unsupported, ....
    """
    vm = ready_for(actor, vm_id, Action.SNAPSHOT, if_match)
    backend = get_backend()
    with_memory = vm.status == Status.RUNNING
    refusal = backend.snapshot_refusal(vm_spec(vm), with_memory)
    if refusal is not None:
        raise Unsupported(refusal)
    if vm.snapshots.filter(name=body.name).exists():
        raise Conflict(f"This VM has a snapshot named {body.name!r} already. Choose another name or delete that one.")
    snapshot = Snapshot(
        vm=vm,
        name=body.name,
        description=body.description or "",
        with_memory=with_memory,
        config_json=vm.config_json,
        created_by_id=actor.user_id,
        created_at=timezone.now(),
    )
    if backend.capabilities.instant_snapshots:
        snapshot.status = SnapshotStatus.COMPLETED
        snapshot.size = backend.create_snapshot(node_ref(vm.node), vm_spec(vm), snapshot_spec(snapshot)) or 0
        snapshot.reserved_gb = gigabytes(snapshot.size)
        claim(vm, Action.SNAPSHOT, None, snapshots_gb=F("snapshots_gb") + snapshot.reserved_gb)
    else:
        # How large it will be nobody knows yet: memory is known, and the rest is set right when it is done.
        snapshot.reserved_gb = gigabytes(vm.ram_mb * 1024**2) if with_memory else 1
        snapshot.task = enqueue_for(actor, vm, "snapshot-create", snapshotId=snapshot.id)
        claim(vm, Action.SNAPSHOT, snapshot.task, snapshots_gb=F("snapshots_gb") + snapshot.reserved_gb)
    hold(vm, snapshot.reserved_gb)
    snapshot.save(force_insert=True)
    done = "taken" if snapshot.task is None else "requested"
    _tell(actor, snapshot, "snapshot.create", f"Snapshot {body.name!r} {done}")
    return snapshot


@atomic
def restore(actor: Actor, vm_id: str, public_id: str, if_match: Collection[int] | None = None) -> Restore:
    """Bring the VM back to a snapshot. What cannot work is refused before anything is touched."""
    vm = find_vm(actor, vm_id)
    actor.require_write()
    snapshot = find_snapshot(vm, public_id)
    ready_for(actor, vm_id, Action.RESTORE, if_match)
    if snapshot.status != SnapshotStatus.COMPLETED:
        raise Conflict(f"The snapshot is {snapshot.status}; only a completed one can be restored.")
    refuse_what_cannot_work(vm, snapshot)
    if vm.desired_on and not snapshot.with_memory:
        vlans.require_open(vm)  # it is started then
    task = enqueue_for(actor, vm, "snapshot-restore", snapshotId=snapshot.id)
    claim(vm, Action.RESTORE, task)
    _tell(actor, snapshot, "snapshot.restore", f"Restore of snapshot {snapshot.name!r} requested")
    return Restore(task, RESTORE_BASE_S + vm.disk_gb)


@atomic
def remove(actor: Actor, vm_id: str, public_id: str, if_match: Collection[int] | None = None) -> Task:
    """Delete a snapshot; its room is given back when the node has let go of it."""
    vm = find_vm(actor, vm_id)
    actor.require_write()
    snapshot = find_snapshot(vm, public_id)
    ready_for(actor, vm_id, Action.SNAPSHOT, if_match)
    if snapshot.status == SnapshotStatus.CREATING:
        raise Conflict("The snapshot is being taken. Wait for it to end, then delete it.")
    task = enqueue_for(actor, vm, "snapshot-delete", snapshotId=snapshot.id)
    claim(vm, Action.SNAPSHOT, task)
    _tell(actor, snapshot, "snapshot.delete", f"Deletion of snapshot {snapshot.name!r} requested")
    return task


def refuse_what_cannot_work(vm: VirtualMachine, snapshot: Snapshot) -> None:
    """A snapshot fits the hardware that it was taken with. Raises Unsupported with the reason and what would help."""
    then = type(vm.config).model_validate_json(snapshot.config_json)
    now = vm.config
    if then.disk_gb != now.disk_gb:
        raise Unsupported(
            f"The disk has grown from {then.disk_gb} to {now.disk_gb} GB since this snapshot, and a restore would cut "
            "it. A disk cannot shrink, so this snapshot can only be deleted."
        )
    if snapshot.with_memory and (then.vcpus, then.ram_mb, then.gpu_config) != (now.vcpus, now.ram_mb, now.gpu_config):
        raise Unsupported(
            "The snapshot holds the memory of a VM with other vCPUs, RAM or GPUs. Set these back to what they were "
            f"({then.vcpus} vCPUs, {then.ram_mb} MB), then restore."
        )
    if snapshot.with_memory and _network(then.network_config) != _network(now.network_config):
        raise Unsupported(
            "The snapshot holds the memory of a VM with another network, whose guest would not be heard on this one. "
            f"Set config.networkConfig back to what it was ({_network(then.network_config)}), then restore."
        )


def _network(config: NetworkConfig) -> str:
    """By what a guest is heard."""
    vlan = "no VLAN" if config.vlan_id is None else f"VLAN {config.vlan_id}"
    return f"{config.ip_address or 'DHCP'}, {vlan}"


def hold(vm: VirtualMachine, gb: int) -> None:
    """Take room on the node and quota for a snapshot."""
    quotas.reserve(vm.organization_id, Usage(disk_gb=gb))
    room.reserve(vm.node_id, Room(0, 0, gb), new=False)


def correct(vm: VirtualMachine, gb: int) -> None:
    """Count so many GB more, or fewer, for a snapshot that is there: its size was not known before, and no limit
    undoes it now."""
    if gb > 0:
        quotas.count(vm.organization_id, Usage(disk_gb=gb))
        room.count(vm.node_id, Room(0, 0, gb))
    elif gb < 0:
        quotas.give_back(vm.organization_id, Usage(disk_gb=-gb))
        room.give_back(vm.node_id, Room(0, 0, -gb))


def gigabytes(size: int) -> int:
    return math.ceil(size / 1024**3)


def _tell(actor: Actor, snapshot: Snapshot, action: str, message: str) -> None:
    vm = snapshot.vm
    logs.record(vm.id, "info", message)
    audit.record(
        actor, action, object_type="snapshot", object_id=snapshot.id, org_id=vm.organization_id, root_id=vm.id,
        after={"vmId": vm.id, "name": snapshot.name},
    )  # fmt: skip
