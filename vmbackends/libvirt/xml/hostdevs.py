"""GPUs passed through whole: https://libvirt.org/formatdomain.html#usb-pci-scsi-devices"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import GpuSpec, VmSpec
from vmbackends.errors import NotSupported, Refused
from vmbackends.pci import pci_address


def hostdevs(vm: VmSpec) -> Iterator["etree._Element"]:
    """Raises NotSupported for a MIG instance: the whole GPU would come in its stead. Raises Refused for what is no PCI
    address."""
    for gpu in vm.gpus:
        if gpu.profile is not None:
            raise NotSupported(f"{vm.name} has a MIG instance of {gpu.device_id}, which cannot be passed through.")
        yield E.hostdev(E.source(_address(vm, gpu)), mode="subsystem", type="pci", managed="yes")


def _address(vm: VmSpec, gpu: GpuSpec) -> "etree._Element":
    address = pci_address(gpu.pci_address)
    if address is None:
        raise Refused(
            f"{gpu.device_id} of {vm.name} has the PCI address {gpu.pci_address!r}, "
            "which is none of the kind 0000:3b:00.0. Correct it on the node's page."
        )
    return E.address(**{part: f"0x{digits}" for part, digits in vars(address).items()})
