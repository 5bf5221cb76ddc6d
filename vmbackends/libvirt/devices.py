"""What domains were given of their host: https://libvirt.org/formatdomain.html#usb-pci-scsi-devices

libvirt tells it in a domain's XML alone; no bulk call has it.
"""

from collections.abc import Iterable

import libvirt
from lxml import etree

from vmbackends.libvirt.errors import is_missing
from vmbackends.libvirt.handles import Connection
from vmbackends.pci import PciAddress

_PCI = "devices/hostdev[@mode='subsystem'][@type='pci']/source/address"


def devices_of(connection: Connection, names: Iterable[str]) -> dict[PciAddress, str]:
    """The PCI devices of the domains of these names, with whose each is. One that is off has its devices too: whoever
    starts it takes them."""
    found: dict[PciAddress, str] = {}
    for name in names:
        try:
            xml = connection.lookupByName(name).XMLDesc(0)
        except libvirt.libvirtError as e:
            if is_missing(e):
                continue
            raise
        for address in etree.fromstring(xml).iterfind(_PCI):
            found[_pci_address(address)] = name
    return found


def _pci_address(address: "etree._Element") -> PciAddress:
    domain, bus, slot, function = (int(address.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function"))
    return PciAddress(f"{domain:04x}", f"{bus:02x}", f"{slot:02x}", f"{function:x}")
