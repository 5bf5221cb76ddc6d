"""Plain values for tests of backends."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from vmbackends.base import CloudInitSpec, GpuSpec, NetworkSpec, PowerIntent, VmSpec

LONG_AGO = datetime(2025, 12, 1, tzinfo=UTC)

A100 = GpuSpec("GPU-0", "NVIDIA A100-PCIE-40GB", 40_960, "0000:3b:00.0")
MIG = GpuSpec("GPU-1", "NVIDIA A100-PCIE-40GB", 40_960, "0000:af:00.0", profile="1g.5gb", start_slice=3)

STATIC = NetworkSpec("52:54:00:00:00:01", 100, "static", "192.168.100.10", "255.255.255.0", "192.168.100.1")
DHCP = NetworkSpec("52:54:00:00:00:02", 300, "dhcp")

_numbers = count(1)


def vm_spec(**changes: Any) -> VmSpec:
    """A VM of its own id, off since long ago."""
    number = next(_numbers)
    spec = VmSpec(
        id=f"692cdc80aabbccddee{number:06x}",
        name=f"vm number {number}",
        organization="acme",
        os_image="ubuntu-22.04",
        vcpus=8,
        ram_mb=32_768,
        disk_gb=100,
        network=STATIC,
        power=PowerIntent(on=False, since=LONG_AGO),
        cloud_init=CloudInitSpec(hostname="dev-vm-01", username="ubuntu"),
    )
    return replace(spec, **changes)
