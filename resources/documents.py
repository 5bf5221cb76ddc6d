"""A VM as the API shows it, built from one tuple of columns: no model objects on a read."""

from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from django.conf import settings

from common.times import isoformat
from resources.models import VirtualMachine
from resources.states import Status, allowed_actions

SWEEPS = 3
SLOWEST_SWEEP_SECONDS = 30

# In the order of VmRow's fields.
COLUMNS = (
    "id", "name", "description", "resource_type", "node_id", "status", "config_json", "owner_id", "organization_id",
    "created_by_id", "started_at", "stopped_at", "ip_address", "os_image", "vcpus", "ram_mb", "allocated_gpu",
    "error_message", "task_id", "version", "created_at", "updated_at", "node__last_seen", "node__online",
)  # fmt: skip


class VmRow(NamedTuple):
    id: str
    name: str
    description: str
    resource_type: str
    node_id: str
    status: str
    config_json: str
    owner_id: str
    organization_id: str
    created_by_id: str
    started_at: datetime | None
    stopped_at: datetime | None
    ip_address: str
    os_image: str
    vcpus: int
    ram_mb: int
    allocated_gpu: list[str]
    error_message: str
    task_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    last_seen: datetime | None
    node_online: bool


_of_row = attrgetter(*(name.replace("__", ".") for name in COLUMNS))


def row_of(vm: VirtualMachine) -> VmRow:
    """The same of a row that is at hand, with its node."""
    return VmRow(*_of_row(vm))


def list_document(row: VmRow) -> dict[str, Any]:
    document: dict[str, Any] = {"_id": row.id, "name": row.name}
    if row.description:
        document["description"] = row.description
    document["resourceType"] = row.resource_type
    document["nodeId"] = row.node_id
    document["status"] = row.status
    # The text that is stored is the text that is shown: parsing it to write it again would double a list's cost.
    document["config"] = orjson.Fragment(row.config_json)
    if row.started_at is not None:
        document["runtime"] = runtime_document(row)
    document["owner"] = {"userId": row.owner_id, "orgId": row.organization_id}
    document["createdBy"] = row.created_by_id
    if row.last_seen is not None and row.started_at is not None:
        document["lastHealthCheck"] = isoformat(row.last_seen)
    if row.error_message:
        document["errorMessage"] = row.error_message
    document["createdAt"] = isoformat(row.created_at)
    document["updatedAt"] = isoformat(row.updated_at)
    return document


def detail_document(row: VmRow, may_write: bool) -> dict[str, Any]:
    document = list_document(row)
    if may_write:
        document["allowedActions"] = allowed_actions(row.status, row.task_id is not None, may_write)
    return document


def runtime_document(row: VmRow) -> dict[str, Any]:
    """What the last deploy gave it. `allocatedRAM` is GB and may be a fraction."""
    document: dict[str, Any] = {"id": f"vm-{row.id}"}
    if row.ip_address:
        document["endpoint"] = f"{row.ip_address}:{3389 if row.os_image.startswith('windows') else 22}"
        document["ipAddress"] = row.ip_address
    document["allocatedGPU"] = row.allocated_gpu
    document["allocatedCPU"] = row.vcpus
    ram_gb = row.ram_mb / 1024
    document["allocatedRAM"] = int(ram_gb) if ram_gb.is_integer() else ram_gb
    if row.started_at is not None:
        document["startedAt"] = isoformat(row.started_at)
    if row.stopped_at is not None:
        document["stoppedAt"] = isoformat(row.stopped_at)
    return document


def health(row: VmRow, now: datetime) -> str:
    """`healthy` runs and was seen by one of the last sweeps, `unhealthy` is in error, `unknown` is all else."""
    if row.status == Status.ERROR:
        return "unhealthy"
    seen = row.node_online and row.last_seen is not None and now - row.last_seen <= _seen_for()
    return "healthy" if row.status == Status.RUNNING and seen else "unknown"


def _seen_for() -> timedelta:
    """How long a look at a node counts. A sweep takes a while itself where another node hangs."""
    return timedelta(seconds=SWEEPS * settings.SWEEP_SECONDS + SLOWEST_SWEEP_SECONDS)


def status_document(row: VmRow, may_write: bool, now: datetime) -> dict[str, Any]:
    document: dict[str, Any] = {"resourceId": row.id, "_id": row.id, "status": row.status}
    if row.started_at is not None:
        runtime = runtime_document(row)
        running = row.status == Status.RUNNING
        runtime["uptime"] = max(0, int((now - row.started_at).total_seconds())) if running else 0
        document["runtime"] = runtime
    document["health"] = health(row, now)
    if row.last_seen is not None:
        document["lastCheck"] = isoformat(row.last_seen)
    if row.error_message:
        document["errorMessage"] = row.error_message
    if row.task_id is not None:
        document["taskId"] = f"task-{row.task_id}"
    if may_write:
        document["allowedActions"] = allowed_actions(row.status, row.task_id is not None, may_write)
    return document
