"""What the guests of a node use: https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vmbackends.base import Metrics, VmSpec
from vmbackends.libvirt.names import domain_uuid
from vmbackends.libvirt.readings import Reading
from vmbackends.libvirt.volumes import GIB

_NO_MEMORY = "The guest does not tell: it has no balloon driver, or is not up yet."
_NO_CPU = "Known from the second sample on."
_NO_GPU = "The node does not tell what a GPU that is passed through does."


@dataclass(frozen=True)
class _Cpu:
    """The CPU time that a guest has had, in nanoseconds, and when that was read."""

    used_ns: int
    read_ns: int


class Sampler:
    """Remembers the CPU time of each guest: what it uses is the difference of two samples."""

    def __init__(self) -> None:
        self._before: dict[str, _Cpu] = {}

    def samples(self, reading: Reading, vms: Sequence[VmSpec]) -> Mapping[str, Metrics]:
        """A sample of each of these that runs, by its id; none of one whose QEMU was passed over."""
        now = datetime.now(UTC)
        samples = {}
        for vm in vms:
            fields = reading.fields.get(domain_uuid(vm.id))
            if fields is not None and _disk_used_gb(vm, fields) is not None:
                samples[vm.id] = self._of(vm, fields, now, reading.asked_ns)
        return samples

    def _of(self, vm: VmSpec, fields: Mapping[str, Any], now: datetime, read_ns: int) -> Metrics:
        unavailable = {}
        cpu_usage = self._cpu_usage(vm, fields.get("cpu.time"), read_ns)
        if cpu_usage is None:
            unavailable["cpu"] = _NO_CPU
        memory = _memory_used_mb(vm, fields)
        if memory is None:
            unavailable["memory"] = _NO_MEMORY
        if vm.gpus:
            unavailable["gpu"] = _NO_GPU
        return Metrics(
            timestamp=now,
            cpu_usage=cpu_usage,
            memory_used_mb=memory,
            disk_used_gb=_disk_used_gb(vm, fields),
            rx_bytes=_sum(fields, "net.", ".rx.bytes"),
            tx_bytes=_sum(fields, "net.", ".tx.bytes"),
            unavailable=unavailable,
        )

    def _cpu_usage(self, vm: VmSpec, used_ns: int | None, read_ns: int) -> float | None:
        """Percent of all its vCPUs."""
        if used_ns is None:
            return None
        before = self._before.get(vm.id)
        self._before[vm.id] = _Cpu(used_ns, read_ns)
        # Less than before: it was started anew meanwhile.
        if before is None or used_ns < before.used_ns or read_ns <= before.read_ns:
            return None
        percent = (used_ns - before.used_ns) / (read_ns - before.read_ns) / vm.vcpus * 100
        return round(min(100.0, percent), 1)


def _memory_used_mb(vm: VmSpec, fields: Mapping[str, Any]) -> int | None:
    """What the guest itself counts as used; caches, which it gives back when asked, are not."""
    total, free = fields.get("balloon.available"), fields.get("balloon.usable", fields.get("balloon.unused"))
    if total is None or free is None:
        return None
    return int(min(vm.ram_mb, max(0, (total - free) // 1024)))


def _disk_used_gb(vm: VmSpec, fields: Mapping[str, Any]) -> float | None:
    """What its file takes on the node. Its `allocation` is only how far QEMU has written since it was started."""
    taken = fields.get("block.0.physical")
    return None if taken is None else round(min(vm.disk_gb, taken / GIB), 2)


def _sum(fields: Mapping[str, Any], prefix: str, suffix: str) -> int:
    return sum(int(value) for name, value in fields.items() if name.startswith(prefix) and name.endswith(suffix))
