"""GPUs passed through whole: https://libvirt.org/formatdomain.html#usb-pci-scsi-devices"""

import re
from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import GpuSpec, VmSpec
from vmbackends.errors import NotSupported, Refused

# As sysfs names it, and as nvidia-smi does, with a domain of eight digits.
_PCI = re.compile(r"(?:(?:0{4})?([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE)


def hostdevs(vm: VmSpec) -> Iterator["etree._Element"]:
    """Raises NotSupported for a MIG instance: the whole GPU would come in its stead. Raises Refused for what is no PCI
    address."""
    for gpu in vm.gpus:
        if gpu.profile is not None:
            raise NotSupported(f"{vm.name} has a MIG instance of {gpu.device_id}, which cannot be passed through.")
        yield E.hostdev(E.source(_address(vm, gpu)), mode="subsystem", type="pci", managed="yes")


def _address(vm: VmSpec, gpu: GpuSpec) -> "etree._Element":
    match = _PCI.fullmatch(gpu.pci_address)
    if match is None:
        raise Refused(
            f"{gpu.device_id} of {vm.name} has the PCI address {gpu.pci_address!r}, "
            "which is none of the kind 0000:3b:00.0. Correct it on the node's page."
        )
    domain, bus, slot, function = match.groups(default="0000")
    return E.address(
        domain=f"0x{domain.lower()}", bus=f"0x{bus.lower()}", slot=f"0x{slot.lower()}", function=f"0x{function}"
    )
