"""The rules of a static IPv4 configuration, on values of any type: what is no address is another rule's matter."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from common.validation import Fault

STATIC_FIELDS = ("ipAddress", "netmask", "gateway")
# With a longer prefix there is no room for a host and its gateway beside network and broadcast address.
_LONGEST_PREFIX = 30
_ALL_ONES = 0xFFFFFFFF


def network_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong between the fields of a `networkConfig`."""
    mode = data.get("ipMode")
    if mode == "dhcp":
        for name in STATIC_FIELDS:
            if data.get(name) is not None:
                yield Fault((name,), "invalid", "Not allowed with DHCP")
    elif mode == "static":
        for name in STATIC_FIELDS:
            if data.get(name) in (None, ""):
                yield Fault((name,), "required", "Required for static mode")
        yield from _static_faults(data)


def _static_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    address, mask, gateway = (_address(data.get(name)) for name in STATIC_FIELDS)
    if address is not None and _is_special(address):
        yield Fault(("ipAddress",), "invalid", "IP address is loopback, link-local, multicast or reserved")
        address = None
    if mask is None:
        return
    prefix = prefix_length(mask)
    if prefix is None:
        yield Fault(("netmask",), "pattern", "Invalid netmask")
        return
    if not 1 <= prefix <= _LONGEST_PREFIX:
        yield Fault(("netmask",), "invalid", "Netmask must be between 128.0.0.0 and 255.255.255.252")
        return
    hosts = _ALL_ONES ^ mask
    if address is not None and address & hosts in (0, hosts):
        yield Fault(("ipAddress",), "invalid", "IP address is the network or broadcast address of its subnet")
    if address is None or gateway is None:
        return
    if gateway == address:
        yield Fault(("gateway",), "invalid", "Gateway must differ from the IP address")
    elif gateway & mask != address & mask:
        yield Fault(("gateway",), "invalid", "Gateway must be in the same subnet as the IP address")
    elif gateway & hosts in (0, hosts):
        yield Fault(("gateway",), "invalid", "Gateway is the network or broadcast address of its subnet")


def prefix_length(mask: int) -> int | None:
    """The number of leading ones of a netmask, or None if it is not contiguous."""
    hosts = _ALL_ONES ^ mask
    return None if hosts & (hosts + 1) else 32 - hosts.bit_length()


def _address(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, value), "big")
    except (OSError, ValueError):  # ValueError: a NUL or a lone surrogate in it
        return None


def _is_special(address: int) -> bool:
    """This network, loopback, link-local (where cloud metadata lives), multicast and reserved: RFC 6890."""
    first, second = address >> 24, address >> 16 & 0xFF
    return first in (0, 127) or (first == 169 and second == 254) or first >= 224
