"""The network interface: https://libvirt.org/formatdomain.html#network-interfaces"""

import re

from lxml import etree
from lxml.builder import E

from vmbackends.base import ImageSpec, NetworkSpec, NodeSettings
from vmbackends.errors import Refused
from vmbackends.libvirt.xml.placement import Placement

PLACE_OF_VLAN = "{vlan}"


def interface(network: NetworkSpec, image: ImageSpec, place: Placement) -> "etree._Element":
    """Raises Refused where the node's settings have no bridge for the VLAN."""
    settings = place.settings
    element = E.interface(
        E.mac(address=network.mac),
        E.source(bridge=bridge_of(network, settings)),
        type="bridge",
    )
    if settings.openvswitch:
        element.append(E.virtualport(type="openvswitch"))
        # A port of Open vSwitch without a tag carries every VLAN; one with tag 0 is untagged and carries no other.
        element.append(E.vlan(E.tag(id=str(network.vlan_id or 0))))
    element.append(E.model(type="e1000e" if image.device_model == "sata" else "virtio"))
    if place.filter_name is not None:
        element.append(_filter(place.filter_name, network))
    # No network card boots: a disk that does not must not ask the tenant's network for a system.
    element.append(E.rom(enabled="no"))
    return element


def bridge_of(network: NetworkSpec, settings: NodeSettings) -> str:
    """The node's bridge for this VLAN. Raises Refused where two VLANs would meet on one Linux bridge."""
    if network.vlan_id is None:
        return settings.untagged_bridge
    if settings.openvswitch:
        return settings.bridge
    if PLACE_OF_VLAN not in settings.bridge:
        raise Refused(
            f"The bridge {settings.bridge} cannot keep VLAN {network.vlan_id} apart from others: a node without "
            f"Open vSwitch needs one Linux bridge for each VLAN, named by a pattern with {PLACE_OF_VLAN}."
        )
    return settings.bridge.replace(PLACE_OF_VLAN, str(network.vlan_id))


def vlan_of(interface: "etree._Element", settings: NodeSettings) -> int | None:
    """The VLAN, or 0 for the untagged network, that an interface which anybody has defined is on; None where it is on
    no network of ours, or on several."""
    source = interface.find("source[@bridge]")
    bridge = str(source.get("bridge")) if source is not None else ""
    if settings.openvswitch:
        tags = [str(tag.get("id")) for tag in interface.iterfind("vlan/tag")]
        return int(tags[0]) if bridge in {settings.bridge, settings.untagged_bridge} and len(tags) == 1 else None
    if bridge == settings.untagged_bridge:
        return 0
    before, place, after = settings.bridge.partition(PLACE_OF_VLAN)
    match = re.fullmatch(f"{re.escape(before)}([1-9][0-9]{{0,3}}){re.escape(after)}", bridge) if place else None
    return int(match[1]) if match else None


def _filter(name: str, network: NetworkSpec) -> "etree._Element":
    """With the address, or by what libvirt learns it. Untold, it would believe the guest's first packets."""
    if network.ip_address is not None:
        return E.filterref(E.parameter(name="IP", value=network.ip_address), filter=name)
    return E.filterref(E.parameter(name="CTRL_IP_LEARNING", value="dhcp"), filter=name)
