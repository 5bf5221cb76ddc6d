"""Whose a domain is: https://libvirt.org/formatdomain.html#general-metadata"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E, ElementMaker

from vmbackends.base import VmSpec
from vmbackends.libvirt.names import METADATA_NS, domain_uuid
from vmbackends.libvirt.xml.text import legal, one_line

_OURS = ElementMaker(namespace=METADATA_NS, nsmap={"aiwm": METADATA_NS})


def identity(vm: VmSpec) -> Iterator["etree._Element"]:
    """Name and UUID, which follow from the VM's id, and the title and <metadata> that tell people whose it is."""
    yield E.name(vm.domain_name)
    yield E.uuid(domain_uuid(vm.id))
    # libvirt's schema has no room for an empty title.
    if title := one_line(vm.name):
        yield E.title(title)
    ours = _OURS.vm(
        _OURS.id(vm.id),
        _OURS.name(legal(vm.name)),
        _OURS.organization(legal(vm.organization)),
    )
    # For hooks/qemu.d/aiwm.py, which holds guests on Open vSwitch to it.
    if vm.network.ip_address is not None:
        ours.append(_OURS.address(vm.network.ip_address))
    yield E.metadata(ours)
