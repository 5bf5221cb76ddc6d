"""Write the demo's data. Can be repeated: what is there is kept as it is."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.actors import SYSTEM_COMMAND
from accounts.models import Organization, User
from aiwm_site import demo
from common.db import atomic
from nodes.models import Gpu, GpuUse, Node, NodeImage
from resources import holdings, logs, metrics
from resources.config import OsImage, VirtualMachineConfig
from resources.models import VirtualMachine
from resources.specs import vm_spec
from resources.states import Status
from snapshots.actions import gigabytes, hold
from snapshots.models import Snapshot, SnapshotStatus
from tasks.models import Task
from vmbackends import get_backend
from vmbackends.mock import MockBackend

# The tasks of the demo's VMs on the offline node wait as long as the demo lives.
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_HISTORY = timedelta(hours=24)


class Command(BaseCommand):
    help = (
        "Write the demo's organizations and accounts and, on the mock, its nodes and VMs. "
        "Refused unless DEBUG is on, or with --force."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="also where DEBUG is off")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG and not options["force"]:
            raise CommandError("The demo has accounts whose passwords everybody knows. Set DEBUG=1, or say --force.")
        people = {name: _person(name, role, org, operator) for name, role, org, operator in demo.PEOPLE}
        if not get_backend().capabilities.local_reads:
            self._say(options, "Demo accounts are there. Nodes are real ones: `manage.py nodes add` brings more in.")
            return
        nodes = {node.name: _node(node) for node in demo.NODES}
        made = [_vm(vm, people[vm.owner], nodes[vm.node]) for vm in demo.VMS]
        self._say(options, f"Demo data: {sum(made)} VMs written, {len(made) - sum(made)} were there already.")

    def _say(self, options: dict[str, Any], text: str) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(text)


@atomic
def _person(name: str, role: str, org_name: str, operator: bool) -> User:
    org_fields: dict[str, Any] = {"id": demo.DEMO_ORG_ID} if org_name == "Demo" else {}
    known = User.objects.filter(pk=demo.DEMO_USER_ID).first() if name == "demo" else None
    user = known or User.objects.filter(username=name).first()
    if user is not None:
        return user
    # By its id too: whoever renamed it keeps it.
    organization = Organization.objects.filter(Q(name=org_name) | Q(id=org_fields.get("id", ""))).first()
    if organization is None:
        organization = Organization.objects.create(name=org_name, **demo.QUOTA, **org_fields)
        _tell("organization.create", organization.id, organization.id, {"name": org_name, **demo.QUOTA})
    user = User(
        username=name, email=f"{name}@example.com", organization=organization, role=role, is_staff=operator,
        is_superuser=operator,
    )  # fmt: skip
    if name == "demo":
        user.id = demo.DEMO_USER_ID
    user.set_password(name)
    user.save(force_insert=True)
    _tell("user.create", user.id, organization.id, {"username": name, "role": role, "is_staff": operator})
    return user


@atomic
def _node(wanted: demo.DemoNode) -> Node:
    # Deleted ones too: whoever deleted a demo node does not want it back.
    node, created = Node._base_manager.get_or_create(
        id=wanted.id,
        defaults={
            "name": wanted.name,
            "hostname": f"{wanted.name}.example.com",
            "online": wanted.online,
            "cap_vcpus": wanted.vcpus,
            "cap_ram_mb": wanted.ram_gb * 1024,
            "cap_disk_gb": wanted.disk_tb * 1024,
            "last_seen": timezone.now() - (timedelta() if wanted.online else timedelta(hours=1)),
        },
    )
    if created:
        _tell("node.create", node.id, None, {"name": node.name})
        NodeImage.objects.bulk_create(NodeImage(node=node, os_image=image) for image in OsImage)
        Gpu.objects.bulk_create(
            Gpu(
                node=node,
                device_id=f"GPU-{number}",
                model="NVIDIA A100-PCIE-40GB",
                memory_mb=40_960,
                pci_address=f"0000:{0x3B + number:02x}:00.0",
                use=GpuUse.EITHER,
            )
            for number in range(wanted.gpus)
        )
    return node


@atomic
def _vm(wanted: demo.DemoVm, owner: User, node: Node) -> bool:
    """Write one VM with its history; False if it was there, deleted ones included."""
    vm_id = _id(f"vm {wanted.name}")
    if node.deleted_at is not None or VirtualMachine.objects.filter(pk=vm_id).exists():
        return False
    config = VirtualMachineConfig.model_validate(wanted.config)
    created_at = timezone.now() - wanted.age
    status = wanted.status
    on_node = status not in (Status.QUEUED, Status.FAILED)
    once_ran = on_node and status != Status.DEPLOYING
    vm = VirtualMachine(
        id=vm_id,
        name=wanted.name,
        description=wanted.description,
        organization=owner.organization,
        owner=owner,
        created_by=owner,
        node=node,
        status=status,
        config_json=json.dumps(wanted.config, separators=(",", ":")),
        os_image=config.os_image,
        vcpus=config.vcpus,
        ram_mb=config.ram_mb,
        disk_gb=config.disk_gb,
        ip_address=wanted.address or "",
        allocated_gpu=holdings.take(vm_id, owner.organization_id, node, holdings.Wants(config)),
        deployed=on_node,
        desired_on=status in (Status.RUNNING, Status.DEPLOYING, Status.ERROR),
        desired_since=created_at + timedelta(minutes=5) if on_node else None,
        started_at=created_at + timedelta(minutes=5, seconds=20) if once_ran else None,
        stopped_at=created_at + timedelta(days=2) if status == Status.STOPPED else None,
        error_message=wanted.error,
        created_at=created_at,
        updated_at=created_at + timedelta(minutes=6),
    )
    vm.save(force_insert=True)
    after = {"name": vm.name, "nodeId": node.id, "config": wanted.config}
    _tell("vm.create", vm.id, vm.organization_id, after)
    _log(vm)
    if status in (Status.DEPLOYING, Status.STOPPING):
        _waiting_task(vm)
    if status == Status.RUNNING:
        _samples(vm)
    for number, name in enumerate(wanted.snapshots):
        _snapshot(vm, name, number)
    return True


def _tell(action: str, object_id: str, org_id: str | None, after: dict[str, Any]) -> None:
    object_type = action.partition(".")[0]
    audit.record(SYSTEM_COMMAND, action, object_type=object_type, object_id=object_id, org_id=org_id, after=after)


def _log(vm: VirtualMachine) -> None:
    logs.record(vm.id, "info", f"VM created on {vm.node.name}", at=vm.created_at)
    start = vm.created_at + timedelta(minutes=5)
    if vm.status != Status.QUEUED:
        logs.record(vm.id, "info", "VM start requested", at=start)
    if vm.started_at:
        logs.record(vm.id, "info", "VM started successfully", at=vm.started_at)
    if vm.stopped_at:
        logs.record(vm.id, "info", "VM stopped", at=vm.stopped_at)
    if vm.status == Status.STOPPING:
        logs.record(vm.id, "info", "VM stop requested")
    if vm.error_message:
        logs.record(vm.id, "error", vm.error_message, at=start + timedelta(minutes=1))


def _waiting_task(vm: VirtualMachine) -> None:
    deploying = vm.status == Status.DEPLOYING
    task = Task.objects.create(
        id=_id(f"task {vm.name}"),
        type="vm-deploy" if deploying else "vm-stop",
        subject_id=vm.id,
        org_id=vm.organization_id,
        node_id=vm.node_id,
        created_by=vm.owner_id,
        message=f"{vm.node.name} cannot be reached; waiting for it",
        deadline_at=_NEVER,
        payload={
            "from": Status.QUEUED if deploying else Status.RUNNING,
            "was_deployed": not deploying,
            "was_on": not deploying,
        },
    )
    vm.task = task
    vm.save(update_fields=["task"])


def _samples(vm: VirtualMachine) -> None:
    """A day of metrics, as the worker would have written them, had it been there."""
    spec = vm_spec(vm)
    backend = MockBackend()
    now = timezone.now().replace(second=0, microsecond=0)
    since = max(now - _HISTORY, vm.started_at or now)
    minutes = int((now - since).total_seconds() // 60)
    moments = [now - timedelta(minutes=minutes - number) for number in range(minutes + 1)]
    totals = metrics.totals_of(vm)
    metrics.store_many((vm.id, backend.metrics_at(spec, moment), totals) for moment in moments)


def _snapshot(vm: VirtualMachine, name: str, number: int) -> None:
    size = 15_728_640 + number * 36_700_160
    snapshot = Snapshot.objects.create(
        id=_id(f"snapshot {vm.name} {name}"),
        vm=vm,
        name=name,
        status=SnapshotStatus.COMPLETED,
        size=size,
        reserved_gb=gigabytes(size),
        config_json=vm.config_json,
        created_by=vm.owner,
        created_at=vm.created_at + timedelta(hours=1 + 5 * number),
    )
    audit.record(
        SYSTEM_COMMAND, "snapshot.create", object_type="snapshot", object_id=snapshot.id, org_id=vm.organization_id,
        root_id=vm.id, after={"vmId": vm.id, "name": name},
    )  # fmt: skip
    hold(vm, snapshot.reserved_gb)
    vm.snapshots_gb += snapshot.reserved_gb
    vm.save(update_fields=["snapshots_gb"])


def _id(name: str) -> str:
    """The same id each time, so that a second run finds what the first wrote."""
    return "675b" + hashlib.sha256(f"aiwm demo {name}".encode()).hexdigest()[:20]
