"""By what a guest is seen to be up, and which address it has."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import libvirt

from vmbackends.addresses import usable_ipv4
from vmbackends.base import VmSpec
from vmbackends.libvirt import console, names
from vmbackends.libvirt.domains import has_agent
from vmbackends.libvirt.handles import Connection, Domain, Pool

# A guest of which nothing else is to be had has booted when it has stayed on for so long.
STAYS_ON = timedelta(seconds=5)
# Unless told otherwise, libvirt waits without end for an agent that has greeted and then says nothing.
_AGENT_ANSWERS_S = 5


def has_booted(connection: Connection, pool: Pool, domain: Domain, vm: VmSpec) -> bool:
    match vm.image.ready if vm.image else "power":
        case "agent":
            return has_agent(domain)
        case "cloud-init":
            return console.has_finished(connection, pool, names.console_volume(vm.id))
        case _:
            return datetime.now(UTC) - vm.power.since >= STAYS_ON


def seen_address(domain: Domain, vm: VmSpec) -> str | None:
    """The IPv4 address that the guest has on its interface, of one that got it by DHCP: from its agent, or from the
    leases of a network that libvirt itself serves.

    An agent may answer anything: what is no address of a host is passed over.
    """
    if vm.network.ip_mode != "dhcp":
        return None
    sources = [libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE]
    if has_agent(domain):
        sources.insert(0, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    for source in sources:
        for interface in _interfaces(domain, source):
            if (interface.get("hwaddr") or "").lower() == vm.network.mac:
                for address in interface.get("addrs") or ():
                    usable = usable_ipv4(address["addr"])
                    if address["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4 and usable is not None:
                        return usable
    return None


def _interfaces(domain: Domain, source: int) -> Collection[Mapping[str, Any]]:
    """None where the guest does not answer, or nobody keeps leases."""
    try:
        if source == libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            domain.agentSetResponseTimeout(_AGENT_ANSWERS_S, 0)
        found: Mapping[str, Mapping[str, Any]] = domain.interfaceAddresses(source, 0)
    except libvirt.libvirtError:
        if not domain.connect().isAlive():
            raise
        return ()
    return found.values()
