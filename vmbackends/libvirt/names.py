"""What a VM's things are called on its node. All of it follows from the VM's id, so that nothing need be remembered."""

import re
import uuid

# The element in a domain's <metadata> that says whose it is: https://libvirt.org/formatdomain.html#general-metadata
METADATA_NS = "urn:aiwm:vm:1"
# Another there, by which a domain that was brought back to a snapshot says by which restore.
RESTORE_NS = "urn:aiwm:restore:1"

_DOMAINS = uuid.UUID("5f0d3a53-93c5-4c0a-9a5e-1f3b9be4a1d7")
_VOLUME_NAME = re.compile(r"vm-([0-9a-f]{24})(?:\.qcow2|-seed\.iso|-console\.log(?:\.[0-9]+)?)")
_IMAGE_NAME = re.compile(r"image-[a-z0-9.-]+-[0-9a-f]{12}\.qcow2")  # as an import names it
IMAGE_PREFIX = "image-"
_DOMAIN_NAME = re.compile(r"vm-([0-9a-f]{24})")


def domain_uuid(vm_id: str) -> str:
    return str(uuid.uuid5(_DOMAINS, vm_id))


def vm_id_of(domain_name: str) -> str | None:
    """The VM whose domain could have this name, or None. Ours it is if its UUID fits as well."""
    match = _DOMAIN_NAME.fullmatch(domain_name)
    return match[1] if match else None


def vm_id_of_volume(name: str) -> str | None:
    """The VM that a volume of this name is of, or None."""
    match = _VOLUME_NAME.fullmatch(name)
    return match[1] if match else None


def is_disk(name: str) -> bool:
    """Whether a volume of this name is a VM's disk."""
    return vm_id_of_volume(name) is not None and name.endswith(".qcow2")


def is_image_volume(name: str) -> bool:
    """Whether an image that was imported and pushed has such a name."""
    return _IMAGE_NAME.fullmatch(name) is not None


def disk_volume(vm_id: str) -> str:
    return f"vm-{vm_id}.qcow2"


def seed_volume(vm_id: str) -> str:
    return f"vm-{vm_id}-seed.iso"


def console_volume(vm_id: str) -> str:
    """What the guest writes to its serial console."""
    return f"vm-{vm_id}-console.log"


def volume_prefix(vm_id: str) -> str:
    """What the names of all volumes of a VM begin with, and of no other: an id has one length."""
    return f"vm-{vm_id}"


def snapshot_name(snapshot_id: str) -> str:
    return f"aiwm-{snapshot_id}"
