"""What a node's networks need beside the domains on them: filters against spoofing, and bridges.

On Open vSwitch libvirt takes no filters. There hooks/qemu.d/aiwm.py does the same with flows, by the domain's metadata.
"""

import re

import libvirt

from vmbackends.base import Lack, NodeRef, NodeSettings, VmSpec
from vmbackends.errors import NotSupported, Refused
from vmbackends.libvirt.errors import is_missing, is_transport
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.xml import nwfilters
from vmbackends.libvirt.xml.interfaces import PLACE_OF_VLAN, bridge_of

_LOOPBACK = "lo"  # where libvirt lists any interface, it lists this
_NO_FILTERS = "libvirt has no network filters, which keep VMs from using each other's addresses"
_INSTALL = "Install libvirt-daemon-driver-nwfilter (in Debian 12 a part of libvirt-daemon) and ebtables (iptables)."


def filter_for(connection: Connection, node: NodeRef, vm: VmSpec) -> str | None:
    """The name of the nwfilter for the VM's interface, which the node has when this returns. None on Open vSwitch.

    Raises NotSupported where the node's libvirt has no filters: no VM runs there without.
    """
    if node.settings.openvswitch:
        return None
    name = nwfilters.DHCP if vm.network.ip_mode == "dhcp" else nwfilters.STATIC
    try:
        _ensure(connection, name)
    except libvirt.libvirtError as e:
        if _has_filters(connection):
            raise
        raise NotSupported(f"On node {node.name} {_NO_FILTERS}. {_INSTALL}", code=e.get_error_code()) from e
    return name


def see_bridge(connection: Connection, node: NodeRef, vm: VmSpec) -> None:
    """Raises Refused where the node has no Linux bridge for the VM's network; libvirt would say so when it starts, in
    words that help nobody. One of Open vSwitch libvirt may not see."""
    if node.settings.openvswitch:
        return
    names = _interfaces(connection)
    bridge, vlan_id = bridge_of(vm.network, node.settings), vm.network.vlan_id
    if names is not None and bridge not in names:
        network = "the untagged network" if vlan_id is None else f"VLAN {vlan_id}"
        raise Refused(
            f"Node {node.name} has no bridge {bridge}, which {network} needs. Change the VM's network or node, or ask "
            "an operator to make the bridge."
        )


def lacks(connection: Connection, node: NodeRef) -> tuple[Lack, ...]:
    """What the node lacks, as far as libvirt can tell: it does not see whether ebtables is there, nor any hook."""
    settings = node.settings
    found = []
    if not settings.openvswitch and not _has_filters(connection):
        found.append(Lack(f"Its {_NO_FILTERS}.", _INSTALL))
    names = _interfaces(connection)
    if names is not None:
        found += [_no_bridge(bridge, settings) for bridge in _bridges(settings) if not _is_any(bridge, names)]
    return tuple(found)


def _ensure(connection: Connection, name: str) -> None:
    """Defined anew only where it says something else: libvirt then changes the rules of running guests, and starts
    none meanwhile."""
    wanted = nwfilters.filter_xml(name)
    try:
        current = connection.nwfilterLookupByName(name).XMLDesc(0)
    except libvirt.libvirtError as e:
        if not is_missing(e):
            raise
        current = None
    if current is None or not nwfilters.same(current, wanted):
        connection.nwfilterDefineXML(wanted)


def _has_filters(connection: Connection) -> bool:
    """False where its libvirt has no driver for them, or one whose daemon is not there."""
    try:
        connection.numOfNWFilters()
    except libvirt.libvirtError as e:
        # One whose daemon is not there says what a lost connection does, and this one lives.
        if not (e.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT or (is_transport(e) and connection.isAlive())):
            raise
        return False
    return True


def _interfaces(connection: Connection) -> set[str] | None:
    """The names of the node's interfaces, None where its libvirt does not list them: it may have no driver for them, or
    one whose daemon is not there."""
    try:
        names = {interface.name() for interface in connection.listAllInterfaces(0)}
    except libvirt.libvirtError:
        if not connection.isAlive():
            raise
        return None
    return names if _LOOPBACK in names else None


def _bridges(settings: NodeSettings) -> list[str]:
    """The node's bridges, each once."""
    return list(dict.fromkeys([settings.untagged_bridge, settings.bridge]))


def _is_any(bridge: str, names: set[str]) -> bool:
    """Whether one of the names is this bridge's, or fits its pattern with some VLAN."""
    pattern = re.escape(bridge).replace(re.escape(PLACE_OF_VLAN), "[0-9]+")
    return any(re.fullmatch(pattern, name) for name in names)


def _no_bridge(bridge: str, settings: NodeSettings) -> Lack:
    if settings.openvswitch:
        return Lack(
            f"libvirt sees no Open vSwitch bridge {bridge}.",
            f"ovs-vsctl add-br {bridge}, unless it is there with datapath_type=netdev, which libvirt does not see.",
        )
    if PLACE_OF_VLAN in bridge:
        mend = "Make one for each VLAN, with the VLAN's interface in it, or correct the node's bridge."
        return Lack(f"It has no bridge for any VLAN, named {bridge}.", mend)
    return Lack(f"It has no bridge {bridge}.", "Make it, or correct the node's untagged bridge.")
