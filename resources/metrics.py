"""What VMs use: now, and over the last hours and days.

Each minute's sample goes into one packed row a VM and hour: raw for a day, then averaged to a point each quarter
of an hour, and gone after a month.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from common.db import atomic
from common.times import isoformat
from nodes.models import Node
from nodes.queries import node_ref
from resources.looks import Looks
from resources.metrics_history import Point, averaged, history
from resources.models import MetricsHour, VirtualMachine
from resources.settle import GUEST_PAUSED
from resources.specs import vm_spec, vm_specs
from resources.states import Status
from vmbackends import get_backend
from vmbackends.base import GpuSpec, Metrics, PowerIntent
from vmbackends.errors import NodeUnreachable

__all__ = ["Totals", "compact", "current", "history", "sample_all", "store", "store_many", "totals_of"]

log = logging.getLogger(__name__)

RAW_FOR = timedelta(days=1)
KEPT_FOR = timedelta(days=31)
_AT_ONCE = 200  # rows that one statement or transaction writes

LOOK_SECONDS = 40.0

_looks: Looks[Mapping[str, Metrics]] = Looks(LOOK_SECONDS)
_MIG_MEMORY = re.compile(r"\d+g\.(\d+)gb.*")


@dataclass(frozen=True)
class Totals:
    """What a VM has, to set what it uses against."""

    vcpus: int
    ram_mb: int
    disk_gb: int


def totals_of(vm: VirtualMachine) -> Totals:
    return Totals(vm.vcpus, vm.ram_mb, vm.disk_gb)


# Now


def current(vm: VirtualMachine) -> dict[str, Any]:
    """What it uses now, or as of the last sample where only a worker may ask its node.

    A VM that does not run has zeros and its last known disk. What is not known is absent, with a reason under
    `unavailable`.
    """
    if vm.status == Status.RUNNING:
        document = _computed(vm) or _fresh(vm) or _unknown(vm, _why_unknown(vm))
    elif vm.status == Status.ERROR and vm.error_reason not in ("", GUEST_PAUSED):
        document = _unknown(vm, vm.error_message)
    else:
        document = _at_rest(vm)
    return {"resourceId": vm.id, **document}


def _computed(vm: VirtualMachine) -> dict[str, Any] | None:
    sample = _local_sample(vm, None)
    return None if sample is None else sample_document(sample, totals_of(vm))


def _local_sample(vm: VirtualMachine, power: PowerIntent | None) -> Metrics | None:
    backend = get_backend()
    if not backend.capabilities.local_reads:
        return None
    try:
        return backend.metrics(node_ref(vm.node), [vm_spec(vm, power)]).get(vm.id)
    except NodeUnreachable as e:
        log.info("no sample of a node out of reach", extra={"node": vm.node.name, "reason": e.message})
        return None


def _fresh(vm: VirtualMachine) -> dict[str, Any] | None:
    """The last sample, where it is of this run of the VM and no older than a few turns of the sampler."""
    latest = _latest(vm)
    if latest is None:
        return None
    oldest = timezone.now() - timedelta(seconds=max(180.0, 3 * settings.SAMPLE_SECONDS))
    taken = datetime.fromisoformat(latest["timestamp"])
    return latest if taken >= max(oldest, vm.started_at or oldest) else None


def _latest(vm: VirtualMachine) -> dict[str, Any] | None:
    found = (
        MetricsHour.objects.filter(vm_id=vm.id, latest__isnull=False)
        .order_by("-hour")
        .values_list("latest", flat=True)
        .first()
    )
    return dict(found) if found else None


def _why_unknown(vm: VirtualMachine) -> str:
    if not vm.node.online:
        return f"{vm.node.name} cannot be reached now."
    return "No sample has been taken yet. Ask again in a minute."


def _unknown(vm: VirtualMachine, reason: str) -> dict[str, Any]:
    reasons = dict.fromkeys(("cpu", "memory", "disk", "network"), reason)
    if vm.allocated_gpu:
        reasons["gpu"] = reason
    return sample_document(Metrics(timezone.now(), unavailable=reasons), totals_of(vm))


def _at_rest(vm: VirtualMachine) -> dict[str, Any]:
    gpus = vm_spec(vm).gpus if vm.allocated_gpu else ()
    disk, unavailable = _last_disk(vm)
    sample = Metrics(
        timezone.now(), cpu_usage=0.0, memory_used_mb=0, disk_used_gb=disk, rx_bytes=0, tx_bytes=0,
        unavailable=unavailable,
    )  # fmt: skip
    document = sample_document(sample, totals_of(vm))
    document["metrics"]["gpu"] = [
        {
            "deviceId": name,
            "utilization": 0.0,
            "memoryUsed": 0,
            "memoryTotal": _visible_memory_mb(gpu),
            "temperature": 0,
        }
        for name, gpu in zip(vm.allocated_gpu, gpus, strict=True)
    ]
    return document


def _last_disk(vm: VirtualMachine) -> tuple[float | None, Mapping[str, str]]:
    if not vm.deployed:
        return 0.0, {}
    latest = _latest(vm)
    used = latest["metrics"].get("disk", {}).get("used") if latest else None
    if used is None:
        # Stopped before its first sample: a backend that computes what it shows can say what it would have been.
        sample = _local_sample(vm, PowerIntent(on=True, since=vm.started_at or vm.created_at))
        used = sample.disk_used_gb if sample else None
    return used, {} if used is not None else {"disk": "It was never measured while it ran."}


def _visible_memory_mb(gpu: GpuSpec) -> int:
    matched = _MIG_MEMORY.fullmatch(gpu.profile) if gpu.profile else None
    return int(matched[1]) * 1024 if matched else gpu.memory_mb


def sample_document(sample: Metrics, totals: Totals) -> dict[str, Any]:
    """A sample as the API shows it, but for the VM's id."""
    unavailable = dict(sample.unavailable)
    cpu: dict[str, Any] = {"cores": totals.vcpus}
    if sample.cpu_usage is not None:
        cpu = {"usage": round(sample.cpu_usage, 1), **cpu}
    metrics: dict[str, Any] = {
        "cpu": cpu,
        "memory": _usage(sample.memory_used_mb, totals.ram_mb),
        "disk": _usage(sample.disk_used_gb, totals.disk_gb),
    }
    if sample.gpus or "gpu" not in unavailable:
        metrics["gpu"] = [
            {
                "deviceId": gpu.device_id,
                "utilization": round(gpu.utilization, 1),
                "memoryUsed": gpu.memory_used_mb,
                "memoryTotal": gpu.memory_total_mb,
                "temperature": gpu.temperature,
            }
            for gpu in sample.gpus
        ]
    if sample.rx_bytes is not None and sample.tx_bytes is not None:
        metrics["network"] = {"rxBytes": sample.rx_bytes, "txBytes": sample.tx_bytes}
    for member, value in (
        ("cpu", sample.cpu_usage),
        ("memory", sample.memory_used_mb),
        ("disk", sample.disk_used_gb),
        ("network", metrics.get("network")),
    ):
        if value is None:
            unavailable.setdefault(member, "The node does not tell.")
    document: dict[str, Any] = {"timestamp": isoformat(sample.timestamp), "metrics": metrics}
    if unavailable:
        document["unavailable"] = unavailable
    return document


def _usage(used: float | None, total: int) -> dict[str, Any]:
    if used is None:
        return {"total": total}
    shown = round(used, 1)
    return {"used": int(shown) if shown == int(shown) else shown, "total": total, "usagePercent": _percent(used, total)}


def _percent(used: float, total: int) -> float:
    return round(100 * used / total, 1) if total else 0.0


# Storing


def store(vm_id: str, sample: Metrics, totals: Totals) -> None:
    """Add one sample to the VM's history."""
    store_many([(vm_id, sample, totals)])


def store_many(samples: Iterable[tuple[str, Metrics, Totals]]) -> None:
    """Add samples, of any VMs and hours, with few statements. Two of one VM and minute: the later one stays."""
    by_row: dict[tuple[str, datetime], list[tuple[Metrics, Totals]]] = defaultdict(list)
    for vm_id, sample, totals in samples:
        by_row[vm_id, _hour_of(sample.timestamp)].append((sample, totals))
    keys = sorted(by_row)
    for begin in range(0, len(keys), _AT_ONCE):
        _write({key: by_row[key] for key in keys[begin : begin + _AT_ONCE]})


@atomic
def _write(by_row: Mapping[tuple[str, datetime], Sequence[tuple[Metrics, Totals]]]) -> None:
    vm_ids = {vm_id for vm_id, _ in by_row}
    hours = {hour for _, hour in by_row}
    there = {(row.vm_id, row.hour): row for row in MetricsHour.objects.filter(vm_id__in=vm_ids, hour__in=hours)}
    new, old = [], []
    for (vm_id, hour), samples in by_row.items():
        row = there.get((vm_id, hour))
        if row is None:
            row = MetricsHour(vm_id=vm_id, hour=hour, points=[])
            new.append(row)
        else:
            old.append(row)
        by_minute = {point[0] // 60: point for point in row.points}
        for sample, totals in sorted(samples, key=lambda pair: pair[0].timestamp):
            point = _point(sample, totals, hour)
            by_minute[point[0] // 60] = point
            document = sample_document(sample, totals)
            if row.latest is None or document["timestamp"] >= row.latest["timestamp"]:
                row.latest = document
        row.points = sorted(by_minute.values())
    MetricsHour.objects.bulk_create(new, ignore_conflicts=True)
    MetricsHour.objects.bulk_update(old, ["points", "latest"])


def _point(sample: Metrics, totals: Totals, hour: datetime) -> Point:
    utilizations = [gpu.utilization for gpu in sample.gpus]
    memory = None if sample.memory_used_mb is None else _percent(sample.memory_used_mb, totals.ram_mb)
    gpu = round(sum(utilizations) / len(utilizations), 1) if utilizations else None
    second = int((sample.timestamp - hour).total_seconds())
    return [second, sample.cpu_usage, memory, sample.disk_used_gb, gpu, sample.rx_bytes, sample.tx_bytes]


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


# Periodic jobs


def sample_all() -> None:
    """Take a sample of all that runs, in one call a node. A node that does not answer is passed over."""
    vms: dict[str, VirtualMachine] = {}
    calls = {}
    backend = get_backend()
    nodes = {node.id: node for node in Node.objects.filter(online=True, lost=False)}
    for node in nodes.values():
        running = list(VirtualMachine.objects.running().filter(node=node).select_related("node", "organization"))
        if running:
            vms |= {vm.id: vm for vm in running}
            calls[node.id] = partial(backend.metrics, node_ref(node), vm_specs(running))
    for samples in _looks.good(calls, nodes, "no samples of a node"):
        store_many((vm_id, sample, totals_of(vms[vm_id])) for vm_id, sample in samples.items() if vm_id in vms)


def compact() -> None:
    """Average what is older than a day, and remove what is older than a month but a VM's last row, which tells how
    full the disk of a VM is that was stopped since."""
    now = timezone.now()
    _remove_older(_hour_of(now - KEPT_FOR))
    while _average_some(_hour_of(now - RAW_FOR)):
        pass


@atomic
def _average_some(before: datetime) -> bool:
    rows = list(MetricsHour.objects.filter(averaged=False, hour__lt=before).order_by("hour", "id")[:_AT_ONCE])
    for row in rows:
        row.points = averaged(row.points)
        row.averaged = True
    MetricsHour.objects.bulk_update(rows, ["points", "averaged"])
    return len(rows) == _AT_ONCE


def _remove_older(than: datetime) -> None:
    expired = MetricsHour.objects.filter(hour__lt=than)
    newest = dict(
        MetricsHour.objects.filter(vm_id__in=expired.order_by().values("vm_id"), vm__deleted_at=None)
        .order_by()
        .values_list("vm_id")
        .annotate(newest=Max("hour"))
    )
    ids = [
        row_id
        for row_id, vm_id, hour in expired.order_by().values_list("id", "vm_id", "hour")
        if newest.get(vm_id) != hour
    ]
    for begin in range(0, len(ids), _AT_ONCE):
        MetricsHour.objects.filter(pk__in=ids[begin : begin + _AT_ONCE]).delete()
