"""Addresses that guests say they have: a guest chooses what its agent answers."""

from ipaddress import AddressValueError, IPv4Address, IPv4Network

_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def usable_ipv4(text: object) -> str | None:
    """The text where it is an IPv4 address that a host can be reached at, else None."""
    if not isinstance(text, str):
        return None
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return None
    no_host = address.is_loopback or address.is_link_local or address.is_multicast or address.is_reserved
    return None if no_host or address in _THIS_NETWORK else str(address)
