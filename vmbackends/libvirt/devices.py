"""What domains were given of their host: https://libvirt.org/formatdomain.html#usb-pci-scsi-devices

libvirt tells it in a domain's XML alone; no bulk call has it.
"""

from collections.abc import Collection

from lxml import etree

from vmbackends.libvirt.domains import described
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.names import domain_uuid
from vmbackends.pci import PciAddress

_PCI = "devices/hostdev[@mode='subsystem'][@type='pci']/source/address"


def devices_of(connection: Connection, vm_ids: Collection[str]) -> dict[PciAddress, str]:
    """The PCI devices of all domains but those of these VMs, with whose each is. One that is off has its devices too:
    whoever starts it takes them."""
    ours = {domain_uuid(vm_id) for vm_id in vm_ids}
    strays = (domain for domain in connection.listAllDomains(0) if domain.UUIDString() not in ours)
    return {_pci_address(address): domain.name() for domain, xml in described(strays) for address in xml.iterfind(_PCI)}


def _pci_address(address: "etree._Element") -> PciAddress:
    domain, bus, slot, function = (int(address.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function"))
    return PciAddress(f"{domain:04x}", f"{bus:02x}", f"{slot:02x}", f"{function:x}")
