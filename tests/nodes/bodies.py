"""Bodies that operators send."""

from typing import Any


def gpu(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "deviceId": f"GPU-{number}",
        "model": "NVIDIA A100-PCIE-40GB",
        "memoryMB": 40_960,
        "pciAddress": f"0000:{0x3B + number:02x}:00.0",
        "use": "mig",
        **changes,
    }


def node(**changes: Any) -> dict[str, Any]:
    return {
        "name": "worker-gpu-07",
        "hostname": "worker-gpu-07.example.com",
        "segment": "hall-2",
        "uri": "qemu+tls://worker-gpu-07.example.com/system",
        "pool": "fast",
        "bridge": "ovs-br0",
        "untaggedBridge": "ovs-br0",
        "openvswitch": True,
        "domainType": "kvm",
        "cpuMode": "host-passthrough",
        "capacity": {"vcpus": 64, "ramMB": 524_288, "diskGB": 8_000},
        "vcpuOvercommit": 2.0,
        "gpus": [gpu(0), gpu(1, use="passthrough")],
        "osImages": ["ubuntu-22.04", "debian-12"],
        **changes,
    }
