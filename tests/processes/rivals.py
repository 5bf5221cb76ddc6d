"""Runs in a process of a site: what each race is about, and what stands in the database after it."""

from datetime import timedelta
from typing import Any

from django.db.models import F

from accounts.models import IdempotencyKey, User
from accounts.tokens import issue
from resources.models import VirtualMachine
from resources.recount import recount
from tasks.models import Task
from tests.factories import GpuFactory, NodeFactory, OrganizationFactory, UserFactory, VirtualMachineFactory
from tests.processes.tenants import A30, A100


def prepare() -> dict[str, dict[str, str]]:
    """An organization, a node and, where a race is about one, a VM for each race."""
    return {
        "gpu": _race(gpu=A100),
        "mig": _race(gpu=A30, profiles_taken=("2g.12gb", "1g.6gb")),
        "address": _race(),
        "room": _race(node={"cap_vcpus": 2}),
        "quota": _race(quota={"quota_vms": 1}),
        "key": _race(),
        "refresh": _race(),
        "start": _race(vm=True),
        "delete": _race(vm=True),
        "patch": _race(vm=True),
        "version": _race(vm=True),
        "snapshot": _race(vm=True, status="stopped"),
        "cancel": _race(vm=True),
        "edits": _race(vm=True),
    }


def _race(
    *, node: dict[str, int] | None = None, quota: dict[str, int] | None = None, gpu: tuple[str, int] | None = None,
    profiles_taken: tuple[str, ...] = (), vm: bool = False, status: str = "queued",
) -> dict[str, str]:  # fmt: skip
    user: Any = UserFactory(organization=OrganizationFactory(**(quota or {})))
    where = NodeFactory(**(node or {}))
    if gpu:
        GpuFactory(node=where, device_id="GPU-0", model=gpu[0], memory_mb=gpu[1])
    rows: dict[str, Any] = {"organization": user.organization, "owner": user, "node": where}
    for profile in profiles_taken:
        VirtualMachineFactory(**rows, config={"gpuConfig": {"enabled": True, "mode": "mig", "migProfile": profile}})
    made = VirtualMachineFactory(**rows, status=status) if vm else None
    pair = issue(User.objects.get(pk=user.id))
    return {"token": pair.access, "refresh": pair.refresh, "node": where.id, "vm": made.id if made else ""}


def after(node_id: str) -> dict[str, Any]:
    """The VMs on a node and their tasks, and every counter of the site that is wrong."""
    vms = VirtualMachine.objects.filter(node_id=node_id).order_by("created_at", "id")
    return {
        "vms": [
            {
                "id": vm.id,
                "status": vm.status,
                "deleted": vm.deleted_at is not None,
                "vcpus": vm.vcpus,
                "version": vm.version,
                "task": vm.task_id,
                "snapshots": vm.snapshots.count(),
                "tasks": list(Task.objects.filter(subject_id=vm.id).values_list("type", "status")),
            }
            for vm in vms
        ],
        "differences": [str(difference) for difference in recount()],
    }


def age_keys(seconds: float) -> int:
    """Let requests that still run have begun so much earlier. Gives how many there are."""
    running = IdempotencyKey.objects.filter(status=None)
    return running.update(created_at=F("created_at") - timedelta(seconds=seconds))
