"""All that a form needs to know, so that no frontend keeps tables of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from resources.config import (
    MAX_DESCRIPTION,
    MAX_DISK_GB,
    MAX_GPU_DEVICES,
    MAX_NAME,
    MAX_PASSWORD,
    MAX_RAM_MB,
    MAX_SSH_KEY,
    MAX_VCPUS,
    MAX_VLAN_ID,
    MIN_DISK_GB,
    MIN_RAM_MB,
    MIN_VCPUS,
    MIN_VLAN_ID,
    GpuMode,
    IpMode,
    NetworkMode,
    OsImage,
)
from resources.pricing import HOURS_A_MONTH
from resources.states import ALLOWED, LOOKS, Status


@dataclass(frozen=True)
class Image:
    display_name: str
    icon: str
    recommended_for: str


IMAGES: dict[OsImage, Image] = {
    OsImage.UBUNTU_22_04: Image("Ubuntu 22.04 LTS (Jammy)", "🐧", "General purpose, modern apps"),
    OsImage.UBUNTU_20_04: Image("Ubuntu 20.04 LTS (Focal)", "🐧", "Stability, long-term support"),
    OsImage.CENTOS_8: Image("CentOS 8", "🎩", "Enterprise apps, RHEL compatibility"),
    OsImage.CENTOS_7: Image("CentOS 7", "🎩", "Legacy enterprise apps"),
    OsImage.DEBIAN_12: Image("Debian 12 (Bookworm)", "🌀", "Stability, security"),
    OsImage.DEBIAN_11: Image("Debian 11 (Bullseye)", "🌀", "Production servers"),
    OsImage.WINDOWS_SERVER_2022: Image("Windows Server 2022", "🪟", "Windows apps, Active Directory"),
    OsImage.WINDOWS_SERVER_2019: Image("Windows Server 2019", "🪟", "Legacy Windows apps"),
}


@dataclass(frozen=True)
class MigProfileInfo:
    """`gpu_instances` are compute slices of seven: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/"""

    profile: str
    gpu_instances: int
    memory_gb: int
    use_case: str


# Of an A100 40 GB. Which ones a node offers stands with its GPUs.
MIG_PROFILES = (
    MigProfileInfo("1g.5gb", 1, 5, "Small inference, testing"),
    MigProfileInfo("1g.10gb", 1, 10, "Medium inference"),
    MigProfileInfo("2g.10gb", 2, 10, "Multi-tenant inference"),
    MigProfileInfo("3g.20gb", 3, 20, "Large models"),
    MigProfileInfo("4g.20gb", 4, 20, "Very large models"),
    MigProfileInfo("7g.40gb", 7, 40, "Full GPU (A100 40GB)"),
)

LIMITS: dict[str, dict[str, int]] = {
    "name": {"minLength": 1, "maxLength": MAX_NAME},
    "description": {"maxLength": MAX_DESCRIPTION},
    "vcpus": {"min": MIN_VCPUS, "max": MAX_VCPUS},
    "ramMB": {"min": MIN_RAM_MB, "max": MAX_RAM_MB},
    "diskGB": {"min": MIN_DISK_GB, "max": MAX_DISK_GB},
    "vlanId": {"min": MIN_VLAN_ID, "max": MAX_VLAN_ID},
    "deviceIds": {"maxItems": MAX_GPU_DEVICES},
    "sshPublicKey": {"maxLength": MAX_SSH_KEY},
    "password": {"minLengthRecommended": 8, "maxLength": MAX_PASSWORD},
}


def catalog(nodes_by_image: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The document of `GET /resources/catalog`. The argument has the ids of the nodes that have each image."""
    default = next((image for image in IMAGES if nodes_by_image.get(image)), OsImage.UBUNTU_22_04)
    return {
        "osImages": [_image(value, image, nodes_by_image.get(value, ())) for value, image in IMAGES.items()],
        "gpuModes": [mode.value for mode in GpuMode],
        "migProfiles": [
            {
                "profile": mig.profile,
                "gpuInstances": mig.gpu_instances,
                "memoryGB": mig.memory_gb,
                "useCase": mig.use_case,
            }
            for mig in MIG_PROFILES
        ],
        "networkModes": [mode.value for mode in NetworkMode],
        "ipModes": [mode.value for mode in IpMode],
        "limits": LIMITS,
        "defaults": {
            "resourceType": "virtual-machine",
            "osImage": default.value,
            "networkMode": NetworkMode.BRIDGE_VLAN.value,
            "username": default.default_username,
            "windowsUsername": OsImage.WINDOWS_SERVER_2022.default_username,
        },
        "statuses": [_status(status) for status in Status],
        "prices": {
            "currency": settings.CURRENCY,
            "perHour": dict(settings.PRICES),
            "hoursPerMonth": HOURS_A_MONTH,
        },
    }


def _image(value: OsImage, image: Image, nodes: Sequence[str]) -> dict[str, Any]:
    return {
        "value": value.value,
        "displayName": image.display_name,
        "icon": image.icon,
        "recommendedFor": image.recommended_for,
        "defaultUsername": value.default_username,
        "nodes": list(nodes),
    }


def _status(status: Status) -> dict[str, Any]:
    look = LOOKS[status]
    return {
        "value": status.value,
        "color": look.color,
        "icon": look.icon,
        "meaning": look.meaning,
        "actions": [action.value for action in ALLOWED[status]],
    }
