"""Where on its node a domain is put."""

import libvirt
from lxml import etree

from vmbackends.base import NodeRef, VmSpec
from vmbackends.libvirt import names, networks, volumes
from vmbackends.libvirt.errors import is_transport
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.xml.placement import Placement

# The CPU that each type of domain has unless the node's settings name another. Emulation has no host's CPU to offer.
_CPU_MODES = {"kvm": "host-model", "qemu": "maximum"}


def placement(connection: Connection, node: NodeRef, pool: Pool, vm: VmSpec) -> Placement:
    """Raises Refused where the node has no bridge for it, and NotSupported where it has no filters."""
    networks.see_bridge(connection, node, vm)
    domain_type = node.settings.domain_type or domain_type_of(connection)
    seed = names.seed_volume(vm.id)
    return Placement(
        domain_type=domain_type,
        cpu_mode=node.settings.cpu_mode or _CPU_MODES[domain_type],
        disk_path=volumes.path_in(pool, names.disk_volume(vm.id)),
        console_path=volumes.path_in(pool, names.console_volume(vm.id)),
        seed_path=volumes.path_in(pool, seed) if volumes.find(pool, seed) else None,
        settings=node.settings,
        filter_name=networks.filter_for(connection, node, vm),
    )


def domain_type_of(connection: Connection) -> str:
    """The faster of those that libvirt offers. That it is offered does not say that a guest comes up with it."""
    try:
        capabilities = connection.getDomainCapabilities(None, "x86_64", "q35", "kvm", 0)
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        return "qemu"
    return "kvm" if etree.fromstring(capabilities).findtext("domain") == "kvm" else "qemu"
