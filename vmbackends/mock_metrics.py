"""What a mock VM uses: smooth curves that look like a machine's, different for each VM, the same from every process.

Each quantity is a sum of slow sines with phases hashed from the VM's id, with a little noise hashed from the minute.
Byte counters are the integral of a rate that is always positive, in closed form, so that they only grow.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from vmbackends.base import GpuMetrics, GpuSpec, Metrics, VmSpec

IDLE_CELSIUS = 35
HOTTEST_CELSIUS = 85

# Periods in seconds, and how much of the swing each has. They share no common multiple worth seeing.
_PERIODS = ((86_400.0, 0.40), (7_110.0, 0.30), (1_730.0, 0.20), (410.0, 0.10))
_WARM_UP_S = 30.0
_MEMORY_GROWS_S = 1_800.0
_DISK_GROWS_S = 30 * 86_400.0
_MIG_PROFILE = re.compile(r"\d+g\.(\d+)gb.*")


@dataclass(frozen=True)
class Curve:
    """A wave between 0 and 1 around `middle`, told apart from others by its seed."""

    seed: str
    middle: float
    swing: float

    def slow(self, t: float) -> float:
        wave = sum(
            share * math.sin(2 * math.pi * (t / period + fraction(f"{self.seed}:{period}")))
            for period, share in _PERIODS
        )
        return _clamp(self.middle + self.swing * wave)

    def at(self, t: float) -> float:
        return _clamp(self.slow(t) + 0.03 * _noise(self.seed, t))


def sample(vm: VmSpec, moment: datetime) -> Metrics:
    """One sample of a VM that has run since `vm.power.since`."""
    t = moment.timestamp()
    since = vm.power.since.timestamp()
    elapsed = max(0.0, t - since)
    warm = 1 - math.exp(-elapsed / _WARM_UP_S)
    load = _curve(f"{vm.id}:cpu", 0.15, 0.65)
    return Metrics(
        timestamp=moment.astimezone(UTC),
        cpu_usage=round(100 * max(0.01, load.at(t) * warm), 1),
        memory_used_mb=_memory_used_mb(vm, t, elapsed),
        disk_used_gb=_disk_used_gb(vm, t),
        gpus=tuple(_gpu(vm, gpu, t, elapsed) for gpu in vm.gpus),
        rx_bytes=_bytes(f"{vm.id}:rx", 2_000, 150_000, since, elapsed),
        tx_bytes=_bytes(f"{vm.id}:tx", 1_000, 75_000, since, elapsed),
    )


def gpu_name(gpu: GpuSpec) -> str:
    """`GPU-0`, or `GPU-0:1g.5gb:3` for a MIG instance."""
    return gpu.device_id if gpu.profile is None else f"{gpu.device_id}:{gpu.profile}:{gpu.start_slice}"


def gpu_memory_mb(gpu: GpuSpec) -> int:
    """What the VM sees of it: the board's memory, or that of its MIG profile."""
    matched = _MIG_PROFILE.fullmatch(gpu.profile) if gpu.profile else None
    return int(matched[1]) * 1024 if matched else gpu.memory_mb


def _memory_used_mb(vm: VmSpec, t: float, elapsed: float) -> int:
    seed = f"{vm.id}:memory"
    plateau = 0.35 + 0.40 * fraction(f"{seed}:plateau")
    grown = 0.12 + (plateau - 0.12) * (1 - math.exp(-elapsed / _MEMORY_GROWS_S))
    wave = 0.03 * math.sin(2 * math.pi * (t / 2_900 + fraction(seed)))
    return int(vm.ram_mb * _clamp(grown + wave, 0.02, 0.95))


def _disk_used_gb(vm: VmSpec, t: float) -> float:
    """Grows from the VM's creation, so that a restart does not empty it. No wave: a disk in use does not shrink."""
    image = min(9.0 if "windows" in vm.os_image else 2.5, 0.6 * vm.disk_gb)
    most = 0.9 * vm.disk_gb * (0.3 + 0.6 * fraction(f"{vm.id}:disk"))
    grown = max(0.0, most - image) * (1 - math.exp(-max(0.0, t - _created(vm)) / _DISK_GROWS_S))
    return round(image + grown, 2)


def _gpu(vm: VmSpec, gpu: GpuSpec, t: float, elapsed: float) -> GpuMetrics:
    name = gpu_name(gpu)
    load = _curve(f"{vm.id}:{name}", 0.25, 0.80)
    warm = 1 - math.exp(-elapsed / _WARM_UP_S)
    total = gpu_memory_mb(gpu)
    held = 0.35 + 0.5 * fraction(f"{vm.id}:{name}:memory")
    return GpuMetrics(
        device_id=name,
        utilization=round(100 * load.at(t) * warm, 1),
        memory_used_mb=int(total * warm * held * (0.9 + 0.1 * load.slow(t))),
        memory_total_mb=total,
        # A heat sink does not feel the noise of a minute.
        temperature=round(IDLE_CELSIUS + (HOTTEST_CELSIUS - IDLE_CELSIUS) * load.slow(t) * warm),
    )


def _bytes(seed: str, least: float, most: float, since: float, elapsed: float) -> int:
    """The integral of `mean * (1 + sum(share * sin(w t + phase)))` from `since` on; the shares add up to 0.9."""
    mean = least + (most - least) * fraction(f"{seed}:mean") ** 2
    area = elapsed
    for period, share in _PERIODS:
        w = 2 * math.pi / period
        phase = 2 * math.pi * fraction(f"{seed}:{period}") + (since % period) * w
        area += 0.9 * share / w * (math.cos(phase) - math.cos(phase + w * elapsed))
    return int(mean * area)


def _curve(seed: str, lowest: float, highest: float) -> Curve:
    """A VM's own curve, its middle somewhere between the two."""
    middle = lowest + (highest - lowest) * fraction(f"{seed}:middle")
    return Curve(seed, middle, swing=min(middle, 1 - middle, 0.3))


def _created(vm: VmSpec) -> float:
    """An object id begins with the second of its creation."""
    since = vm.power.since.timestamp()
    try:
        return min(float(int(vm.id[:8], 16)), since)
    except ValueError:
        return since


def _noise(seed: str, t: float) -> float:
    """-1 to 1: a hash of each minute, and a straight line from one to the next."""
    minute = math.floor(t / 60)
    part = t / 60 - minute
    return 2 * (fraction(f"{seed}:{minute}") * (1 - part) + fraction(f"{seed}:{minute + 1}") * part) - 1


def fraction(text: str) -> float:
    """A number from 0 to below 1 that is the same for the same text, in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def _clamp(value: float, least: float = 0.0, most: float = 0.99) -> float:
    return max(least, min(most, value))
