"""Whose a VLAN is, and which addresses of it a VM may have."""

from ipaddress import IPv4Address, IPv4Network

from django.conf import settings

from common.db import one_or_none
from common.errors import FieldError
from nodes.models import Network

_PATH = "config.networkConfig"


def faults(
    org_id: str,
    is_operator: bool,
    segment: str,
    vlan_id: int | None,
    ip_address: str | None = None,
    gateway: str | None = None,
) -> list[FieldError]:
    """What keeps a VM of this organization off this network of a segment, by field; nothing where it may join.

    A VLAN of other organizations cannot be told from one that is not there, save by operators.
    """
    network = one_or_none(Network.objects.filter(segment=segment, vlan_id=vlan_id or 0))
    if network is None:
        return [] if _is_open_without_row(vlan_id) else [_unknown(vlan_id)]
    owners = set(network.organizations.values_list("pk", flat=True))
    if owners and org_id not in owners:
        return [_closed(network) if is_operator else _unknown(vlan_id)]
    return _address_faults(network, ip_address, gateway)


def is_open(org_id: str, segment: str, vlan_id: int | None) -> bool:
    """Whether VMs of this organization may be on this network now: one query."""
    owners = list(
        Network.objects.filter(segment=segment, vlan_id=vlan_id or 0).order_by().values_list("organizations", flat=True)
    )
    if not owners:
        return _is_open_without_row(vlan_id)
    return org_id in owners or None in owners  # one of no organizations is open to all


def _is_open_without_row(vlan_id: int | None) -> bool:
    return vlan_id is None or bool(settings.OPEN_VLANS)


def usable_subnet(text: str) -> IPv4Network:
    """The subnet that an operator wrote. Raises ValueError with words for them."""
    try:
        subnet = IPv4Network(text, strict=True)
    except ValueError as e:
        raise ValueError("Must be an IPv4 network such as 192.168.100.0/24, with no host bits set.") from e
    if subnet.prefixlen > 30:
        raise ValueError("Must hold at least a gateway and one host: a prefix of /30 or shorter.")
    return subnet


def is_host(address: IPv4Address, subnet: IPv4Network) -> bool:
    return address in subnet and address not in (subnet.network_address, subnet.broadcast_address)


def _address_faults(network: Network, ip_address: str | None, gateway: str | None) -> list[FieldError]:
    found = []
    subnet = usable_subnet(network.subnet) if network.subnet else None
    if ip_address is not None:
        if subnet is not None and not is_host(IPv4Address(ip_address), subnet):
            message = f"IP address must be a host address of {subnet}, the subnet of {_name(network)}"
            found.append(FieldError(f"{_PATH}.ipAddress", "invalid", message))
        elif network.gateway is not None and IPv4Address(ip_address) == IPv4Address(network.gateway):
            found.append(FieldError(f"{_PATH}.ipAddress", "invalid", f"IP address is the gateway of {_name(network)}"))
    if gateway is not None and subnet is not None and not is_host(IPv4Address(gateway), subnet):
        message = f"Gateway must be a host address of {subnet}, the subnet of {_name(network)}"
        found.append(FieldError(f"{_PATH}.gateway", "invalid", message))
    return found


def _name(network: Network) -> str:
    return f"VLAN {network.vlan_id}" if network.vlan_id else "the untagged network"


def _unknown(vlan_id: int | None) -> FieldError:
    name = "The untagged network" if vlan_id is None else f"VLAN {vlan_id}"
    return FieldError(f"{_PATH}.vlanId", "not_found", f"{name} does not exist")


def _closed(network: Network) -> FieldError:
    message = f"{network} is not open to this organization. Add it to the network's organizations first."
    return FieldError(f"{_PATH}.vlanId", "invalid", message)
