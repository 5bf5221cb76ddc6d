"""What domains were given: devices of their host (https://libvirt.org/formatdomain.html#usb-pci-scsi-devices) and
addresses on our networks.

libvirt tells it in a domain's XML alone; no bulk call has it. An address counts that the XML holds the guest to, as a
filter's parameter or as ours has it in its metadata. What a guest says of itself does not: it could say any.
"""

from collections.abc import Collection, Iterator

from lxml import etree

from vmbackends.addresses import usable_ipv4
from vmbackends.base import Devices, NodeSettings
from vmbackends.libvirt.domains import described
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.names import METADATA_NS, domain_uuid
from vmbackends.libvirt.xml.interfaces import vlan_of
from vmbackends.pci import PciAddress

_PCI = "devices/hostdev[@mode='subsystem'][@type='pci']/source/address"
_FILTERED = "filterref/parameter[@name='IP']"
_OURS = f"metadata/{{{METADATA_NS}}}vm/{{{METADATA_NS}}}address"


def devices_of_others(connection: Connection, settings: NodeSettings, vm_ids: Collection[str]) -> Devices:
    """Of all domains but those of these VMs. One that is off has its devices too: whoever starts it takes them."""
    ours = {domain_uuid(vm_id) for vm_id in vm_ids}
    others = (domain for domain in connection.listAllDomains(0) if domain.UUIDString() not in ours)
    pci: dict[PciAddress, str] = {}
    addresses: dict[tuple[int, str], str] = {}
    for domain, xml in described(others):
        name = domain.name()
        pci |= {_pci_address(address): name for address in xml.iterfind(_PCI)}
        addresses |= dict.fromkeys(_addresses(xml, settings), name)
    return Devices(pci, addresses)


def _addresses(xml: "etree._Element", settings: NodeSettings) -> Iterator[tuple[int, str]]:
    for interface in xml.iterfind("devices/interface"):
        vlan_id = vlan_of(interface, settings)
        filtered = (parameter.get("value") for parameter in interface.iterfind(_FILTERED))
        for text in (*filtered, xml.findtext(_OURS)):
            address = usable_ipv4(text)
            if vlan_id is not None and address is not None:
                yield vlan_id, address


def _pci_address(address: "etree._Element") -> PciAddress:
    domain, bus, slot, function = (int(address.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function"))
    return PciAddress(f"{domain:04x}", f"{bus:02x}", f"{slot:02x}", f"{function:x}")
