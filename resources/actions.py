"""The one home of each change of a VM. The API, the admin, commands and the shell call these.

A change that a node must carry out claims the VM and writes its task in one transaction; a worker does the rest
(`resources.handlers`). What decides between two at once is the conditional update in `claim`, never a lock; an edit
holds its row only so that of two edits the second comes after the first, and is not refused.
"""

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import F
from django.utils import timezone

from accounts import audit
from accounts.actors import Actor
from common.db import Again, atomic, one_or_none
from common.errors import (
    ActionNotAllowed,
    Conflict,
    FieldError,
    Forbidden,
    Locked,
    NodeUnavailable,
    PreconditionFailed,
    Unsupported,
    ValidationFailed,
)
from common.ids import new_object_id
from nodes import claims, networks
from nodes.images import image_spec
from nodes.models import Image, Node, NodeImage
from resources import console, guest_console, holdings, logs, secrets, vlans
from resources.config import (
    CreateBody,
    NetworkConfig,
    VirtualMachineConfig,
    config_document,
    config_json,
    gpu_count,
    mig_count,
    parse_create,
    parse_patch,
)
from resources.documents import VmRow
from resources.holdings import Wants
from resources.models import VirtualMachine, VmSecret
from resources.queries import find_row, find_vm
from resources.settle import as_it_was
from resources.specs import build_spec
from resources.states import WORKING, Action, Status, allowed_actions, said, statuses_allowing
from tasks.models import Task
from tasks.queue import abort, enqueue
from vmbackends import get_backend
from vmbackends.base import PowerIntent

# Only what a create looks at, and as tuples: each column and each model more is work for Django in every create.
_OF_NODE = ("id", "name", "segment", "online", "last_seen")
_OF_IMAGE = ("volume", "virtual_bytes", "firmware", "device_model", "tpm", "ready")
_IMAGES = (
    NodeImage.objects.order_by()
    .filter(node__deleted_at=None)
    .values_list(*(f"node__{name}" for name in _OF_NODE), *(f"kept__{name}" for name in _OF_IMAGE))
)

# Create, edit, delete


def create(actor: Actor, data: object, org_id: str | None = None) -> VirtualMachine:
    """Reserve a VM from a create body. `org_id` is another owner, for operators.

    Raises ValidationFailed with every fault, Conflict, QuotaExceeded, Unsupported, Forbidden.
    """
    return prepare(actor, data, org_id)()


def prepare(actor: Actor, data: object, org_id: str | None = None) -> Callable[[], VirtualMachine]:
    """The first half of `create`, which changes nothing and may take a while; gives the second, one transaction."""
    actor.require_write()
    if actor.user_id is None:
        raise Forbidden("A VM has an owner: the platform itself can have none.")
    body = parse_create(data)
    owner_org = org_id or actor.org_id
    vm_id = new_object_id()
    node = _checked_node(actor, owner_org, vm_id, body)
    return partial(_reserve, actor, actor.user_id, vm_id, owner_org, node, body, secrets.protect(body.config))


@atomic
def _reserve(
    actor: Actor,
    owner_id: str,
    vm_id: str,
    org_id: str,
    node: Node,
    body: CreateBody,
    secret: tuple[Any, str] | None,
) -> VirtualMachine:
    allocated = holdings.take(vm_id, org_id, node, Wants(body.config))
    now = timezone.now()
    vm = VirtualMachine(
        id=vm_id,
        name=body.name,
        description=body.description or "",
        organization_id=org_id,
        owner_id=owner_id,
        created_by_id=owner_id,
        node=node,
        allocated_gpu=allocated,
        created_at=now,
        updated_at=now,
        **_config_columns(body.config),
    )
    vm.save(force_insert=True)
    if secret is not None:
        secrets.store(vm_id, secret)
    logs.record(vm_id, "info", f"VM created on {node.name}")
    _audit(actor, vm, "vm.create", after={"name": body.name, "nodeId": node.id, "config": config_document(body.config)})
    return vm


def update(actor: Actor, vm_id: str, patch: object, if_match: Collection[int] | None = None) -> VmRow:
    """Apply a JSON merge patch (RFC 7396), and give the row as it is then.

    Raises ValidationFailed, ActionNotAllowed, Locked, Conflict, ....
    """
    vm = find_vm(actor, vm_id)
    actor.require_write()
    body, changed = parse_patch(_editable(vm), patch)
    secret = secrets.protect(body.config) if "config.cloudInit" in changed else None
    return _apply(actor, vm_id, patch, secret, if_match)


@atomic
def _apply(
    actor: Actor, vm_id: str, patch: object, secret: tuple[Any, str] | None, if_match: Collection[int] | None
) -> VmRow:
    vm = find_vm(actor, vm_id, hold=True)
    if if_match is not None and vm.version not in if_match:
        raise PreconditionFailed("The VM was changed since you read it. Read it again and retry.")
    before = _editable(vm)
    body, changed = parse_patch(before, patch)
    if _removes_password(patch) and VmSecret.objects.filter(vm=vm).exists():
        changed.add("config.cloudInit")
    if secret is not None and not secrets.suits(secret, body.config):
        raise Conflict("The VM's osImage was changed at the same time, and with it how the password is kept. Retry.")
    if not changed:
        return find_row(actor, vm_id)
    columns: dict[str, Any] = {"name": body.name, "description": body.description or ""}
    rows = VirtualMachine.objects.filter(pk=vm.id, version=vm.version, deleted_at=None)
    if changed - {"name", "description"}:
        require(vm, Action.EDIT, None)
        _refuse_late_edits(vm, body, changed)
        node = _checked_node(
            actor,
            vm.organization_id,
            vm.id,
            body,
            new_gpus=bool(changed & {"nodeId", "config.gpuConfig"}),
            new_disk=not vm.deployed,
            new_network=bool(changed & {"nodeId", "config.networkConfig"}),
        )
        held = Wants(vm.config, vm.snapshots_gb)
        columns["allocated_gpu"] = holdings.change(vm, node, held, Wants(body.config, vm.snapshots_gb))
        columns |= {"node": node, **_config_columns(body.config)}
        if "config.networkConfig" not in changed:
            del columns["ip_address"]  # one that was seen on DHCP stays known
        rows = rows.filter(task=None, status__in=statuses_allowing(Action.EDIT))
    if not rows.update(version=F("version") + 1, updated_at=timezone.now(), **columns):
        raise Again
    if secret is not None:
        secrets.store(vm.id, secret)
    elif _removes_password(patch) or vm.config.os_image.is_windows != body.config.os_image.is_windows:
        secrets.wipe(vm.id)  # a hash is of no use to Windows, nor a sealed password to Linux
    _warn_of_old_address(vm, body.config.network_config)
    after = {"name": body.name, "description": body.description, "nodeId": body.node_id}
    _audit(actor, vm, "vm.update", before=before, after={**after, "config": config_document(body.config)})
    return find_row(actor, vm_id)


def _warn_of_old_address(vm: VirtualMachine, after: NetworkConfig) -> None:
    """cloud-init sets an address once, and the node then lets through no other than the VM's."""
    before = vm.config.network_config
    if not vm.started_at:
        return
    if (before.ip_mode, before.ip_address) != (after.ip_mode, after.ip_address):
        wanted = after.ip_address or "an address by DHCP"
        logs.record(
            vm.id,
            "warning",
            f"The guest keeps the address of its first boot, and is not heard with it. Set it to {wanted} in the guest "
            "as well: by its console, or with the old one put back here until that is done.",
        )
    elif (before.netmask, before.gateway) != (after.netmask, after.gateway):
        logs.record(
            vm.id,
            "warning",
            f"The guest keeps the netmask and gateway of its first boot. Set them to {after.netmask} and "
            f"{after.gateway} in the guest as well.",
        )


def _removes_password(patch: object) -> bool:
    """Whether a merge patch takes the password away, by itself or with all of cloud-init."""
    config = patch.get("config") if isinstance(patch, dict) else None
    if not isinstance(config, dict) or "cloudInit" not in config:
        return False
    cloud_init = config["cloudInit"]
    return cloud_init is None or (isinstance(cloud_init, dict) and cloud_init.get("password", "") is None)


def _editable(vm: VirtualMachine) -> dict[str, Any]:
    """The VM as a create body would have made it: what a patch is merged into."""
    return {
        "name": vm.name,
        "description": vm.description or None,
        "resourceType": vm.resource_type,
        "nodeId": vm.node_id,
        "config": config_document(vm.config),
    }


@atomic
def delete(actor: Actor, vm_id: str, if_match: Collection[int] | None = None) -> Task | None:
    """Hide the VM. Gives the task that cleans its node up, or None where nothing was ever put there."""
    vm = find_vm(actor, vm_id)
    actor.require_write()
    require(vm, Action.DELETE, if_match)
    now = timezone.now()
    if vm.deployed:
        task = enqueue_for(actor, vm, "vm-delete")
        claim(vm, Action.DELETE, task, deleted_at=now, desired_on=False, desired_since=now)
    else:
        task = None
        claim(vm, Action.DELETE, None, deleted_at=now)
        holdings.give_back(vm)
        secrets.wipe(vm.id)
        guest_console.forget(vm.id)
    console.close_consoles(vm.id)
    logs.record(vm.id, "info", "VM deleted")
    _audit(actor, vm, "vm.delete", before={"name": vm.name, "status": vm.status})
    return task


# Lifecycle


@atomic
def start(actor: Actor, vm_id: str, if_match: Collection[int] | None = None) -> Task:
    """Deploy a VM that has nothing on its node yet, or power on one that has."""
    vm = ready_for(actor, vm_id, Action.START, if_match)
    vlans.require_open(vm)
    task = enqueue_for(actor, vm, "vm-start" if vm.deployed else "vm-deploy")
    now = timezone.now()
    claim(vm, Action.START, task, desired_on=True, desired_since=now, deployed=True, error_message="", error_reason="")
    tell(actor, vm, "vm.start", "VM start requested")
    return task


@atomic
def stop(actor: Actor, vm_id: str, force: bool = False, if_match: Collection[int] | None = None) -> Task:
    """Ask the guest to shut down, and cut the power after `SHUTDOWN_SECONDS`; with `force` cut it at once."""
    vm = ready_for(actor, vm_id, Action.STOP, if_match)
    task = enqueue_for(actor, vm, "vm-stop", force=force)
    claim(vm, Action.STOP, task, desired_on=False, desired_since=timezone.now())
    console.close_consoles(vm.id)
    tell(actor, vm, "vm.stop", "VM stop requested, by force" if force else "VM stop requested")
    return task


@atomic
def restart(actor: Actor, vm_id: str, force: bool = False, if_match: Collection[int] | None = None) -> Task:
    """Stop it as `stop` does, define it anew from its config and disk, and power it on."""
    vm = ready_for(actor, vm_id, Action.RESTART, if_match)
    vlans.require_open(vm)
    task = enqueue_for(actor, vm, "vm-restart", force=force)
    now = timezone.now()
    claim(vm, Action.RESTART, task, desired_on=True, desired_since=now, error_message="", error_reason="")
    console.close_consoles(vm.id)
    tell(actor, vm, "vm.restart", "VM restart requested, by force" if force else "VM restart requested")
    return task


def forget(actor: Actor, vm_id: str) -> None:
    """For a node marked lost: free what a VM holds there without anyone having seen its domain gone.

    Deleted VMs too. Raises Forbidden for all but operators, Conflict where the node is not lost.
    """
    actor.require_operator()
    _end_what_is_asked(vm_id)
    _forget(actor, vm_id)


@atomic
def _end_what_is_asked(vm_id: str) -> None:
    """Nothing is done on a lost node: the next sweep would end it as well."""
    vm = VirtualMachine.objects.select_related("node").get(pk=vm_id)
    if vm.node.lost and vm.task_id is not None:
        abort(vm.task_id, reason="lost", error=f"{vm.node.name} is marked lost, and the VM is forgotten.")


@atomic
def _forget(actor: Actor, vm_id: str) -> None:
    vm = VirtualMachine.objects.select_related("node", "organization").get(pk=vm_id)
    if not vm.node.lost:
        raise Conflict(f"{vm.node.name} is not marked lost: its VMs are deleted, not forgotten.")
    if vm.task_id is not None:
        raise Locked("A task runs on this VM.", vm.task_id)
    if vm.deleted_at is not None and not vm.deployed:
        return
    rows = VirtualMachine.objects.filter(pk=vm.id, version=vm.version, task=None)
    now = timezone.now()
    forgotten = {"deployed": False, "forgotten": vm.deployed, "deleted_at": vm.deleted_at or now, "error_message": ""}
    if not rows.update(**forgotten, version=F("version") + 1, updated_at=now):
        raise Again
    holdings.give_back(vm)  # with which the node's row is ours, and stays as it is until the end
    if not Node.objects.filter(pk=vm.node_id, lost=True).exists():
        raise Again
    secrets.wipe(vm.id)
    guest_console.forget(vm.id)
    console.close_consoles(vm.id)
    tell(actor, vm, "vm.forget", f"VM forgotten: {vm.node.name} is lost")


# What actions are made of; snapshots use them too


def claim(vm: VirtualMachine, action: Action, task: Task | None, **columns: Any) -> None:
    """The one statement that gives a VM to a task, if it is still as it was read. Raises Again if it is not."""
    status = WORKING.get(action)
    if status is not None:
        columns["status"] = status
    taken = VirtualMachine.objects.filter(
        pk=vm.id, task=None, status__in=statuses_allowing(action), version=vm.version, deleted_at=None
    ).update(task=task, version=F("version") + 1, updated_at=timezone.now(), **columns)
    if not taken:
        raise Again


def ready_for(actor: Actor, vm_id: str, action: Action, if_match: Collection[int] | None) -> VirtualMachine:
    """The VM, if this caller may do this to it now and its node answers."""
    vm = find_vm(actor, vm_id)
    actor.require_write()
    require(vm, action, if_match)
    require_node(vm.node)
    return vm


def require_node(node: Node) -> None:
    if node.lost:
        raise NodeUnavailable(f"{node.name} is marked lost. Ask an operator.", retry_after_s=300)
    if not node.online:
        raise NodeUnavailable(f"{node.name} cannot be reached now. Try again when it is back.")


def require(vm: VirtualMachine, action: Action, if_match: Collection[int] | None) -> None:
    if if_match is not None and vm.version not in if_match:
        raise PreconditionFailed("The VM was changed since you read it. Read it again and retry.")
    if vm.task_id is not None:
        raise Locked("A task runs on this VM. Wait for it to end.", vm.task_id)
    allowed = allowed_actions(vm.status, has_task=False, may_write=True)
    if action not in allowed:
        can = f"It allows {', '.join(allowed)}." if allowed else "It allows nothing until it ends."
        raise ActionNotAllowed(f"Cannot {action} a VM that {said(vm.status)}. {can}", vm.status, allowed)


def enqueue_for(actor: Actor, vm: VirtualMachine, task_type: str, **payload: Any) -> Task:
    return enqueue(
        task_type,
        subject_id=vm.id,
        node_id=vm.node_id,
        org_id=vm.organization_id,
        created_by=actor.user_id,
        payload={**as_it_was(vm), **payload},
    )


def tell(actor: Actor, vm: VirtualMachine, action: str, message: str) -> None:
    """Write it to the VM's log and the audit trail."""
    logs.record(vm.id, "info", message)
    _audit(actor, vm, action, before={"status": vm.status})


def _audit(
    actor: Actor, vm: VirtualMachine, action: str, before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    audit.record(
        actor, action, object_type="vm", object_id=vm.id, org_id=vm.organization_id, before=before, after=after
    )


def _config_columns(config: VirtualMachineConfig) -> dict[str, Any]:
    return {
        "config_json": config_json(config),
        "os_image": config.os_image,
        "vcpus": config.vcpus,
        "ram_mb": config.ram_mb,
        "disk_gb": config.disk_gb,
        "gpu_count": gpu_count(config),
        "mig_count": mig_count(config),
        "ip_address": config.network_config.ip_address or "",
    }


def _checked_node(
    actor: Actor,
    org_id: str,
    vm_id: str,
    body: CreateBody,
    *,
    new_gpus: bool = True,
    new_disk: bool = True,
    new_network: bool = True,
) -> Node:
    """The node that a body names, once nothing is wrong that the schema cannot know: before anything is reserved.

    `new_gpus` off: it has its GPUs already, and keeps them also where the node reports them no more. `new_disk` off:
    its disk was made of the image as that was then. `new_network` off: it may be edited though its network was taken
    away since, and is refused where it would be put on it.
    Raises ValidationFailed with every fault, or Unsupported for an image that the node does not have.
    """
    node, has_image, kept = _node_and_image(body)
    faults = [] if node else [FieldError("nodeId", "not_found", "There is no such node")]
    if node:
        faults += _network_faults(actor, org_id, body.config, node) if new_network else []
        faults += _gpu_faults(body.config, node) if new_gpus else []
    if kept and new_disk and body.config.disk_gb < kept.least_disk_gb:
        message = f"Must be at least {kept.least_disk_gb}, as the disk of the image {kept.os_image} is"
        faults.append(FieldError("config.diskGB", "min", message))
    spec = build_spec(
        vm_id=vm_id, name=body.name, organization="", config=body.config, gpus=(),
        power=PowerIntent(on=False, since=timezone.now() - timedelta(seconds=1)),
        image=image_spec(kept) if kept else None,
    )  # fmt: skip
    faults += [FieldError(f"config.{f.field}", f.code, f.message) for f in get_backend().check(spec)]
    if node is None or faults:
        raise ValidationFailed(faults)
    if not has_image:
        raise Unsupported(
            f"{node.name} does not have the image {body.config.os_image}. Choose another node or image; "
            "GET /resources/catalog tells which node has which."
        )
    return node


def _node_and_image(body: CreateBody) -> tuple[Node | None, bool, Image | None]:
    """The node that a body names, whether it has the image, and that image if operators keep it: one query where it
    has."""
    row = one_or_none(_IMAGES.filter(node_id=body.node_id, os_image=body.config.os_image))
    if row is None:
        return one_or_none(Node.objects.filter(pk=body.node_id)), False, None
    of_node, of_image = row[: len(_OF_NODE)], row[len(_OF_NODE) :]
    columns = dict(zip(_OF_IMAGE, of_image, strict=True))
    kept = Image(os_image=body.config.os_image, **columns) if columns["volume"] else None
    return Node.from_db(None, _OF_NODE, of_node), True, kept


def _network_faults(actor: Actor, org_id: str, config: VirtualMachineConfig, node: Node) -> list[FieldError]:
    network = config.network_config
    return networks.faults(
        org_id, actor.is_operator, node.segment, network.vlan_id, network.ip_address, network.gateway
    )


def _gpu_faults(config: VirtualMachineConfig, node: Node) -> list[FieldError]:
    gpu = config.gpu_config
    if gpu is None or not gpu.enabled:
        return []
    return claims.faults(node.id, gpu.device_ids or (), gpu.mig_profile)


def _refuse_late_edits(vm: VirtualMachine, body: CreateBody, changed: set[str]) -> None:
    """What is fixed once the VM stands on its node."""
    late = changed & {"nodeId", "config.osImage", "config.cloudInit"}
    if late and vm.status not in (Status.QUEUED, Status.FAILED):
        names = ", ".join(sorted(late))
        raise ActionNotAllowed(
            f"{names} can be changed before the first deploy only; this VM is {vm.status}.",
            vm.status,
            allowed_actions(vm.status, has_task=False, may_write=True),
        )
    if vm.deployed and body.config.disk_gb < vm.disk_gb:
        raise ValidationFailed.of("config.diskGB", f"The disk is {vm.disk_gb} GB and can only grow", "min")
