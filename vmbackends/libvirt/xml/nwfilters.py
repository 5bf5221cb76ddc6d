"""Filters of what a guest may send: https://libvirt.org/formatnwfilter.html

They stand between a guest's tap and a Linux bridge. A guest sends from its own MAC and its own IPv4 address, in IP
packets and in ARP alike, and is sent IPv4 and ARP; nothing else passes, and so no IPv6 and no VLAN tag of its own.
It offers no addresses to others by DHCP, for what such an offer says is believed (see `DHCP`).

Each filter is one list of rules that needs no other filter: what a node has by the name of `clean-traffic` or
`no-ip-spoofing` is the node's own affair.
"""

import uuid

from lxml import etree
from lxml.builder import E

from vmbackends.libvirt.xml.text import document

# For guests whose address is known: the interface's parameter IP.
STATIC = "aiwm-static"
# For guests whose address is what a DHCP server gives them: libvirt listens for that, and replaces IP by it.
DHCP = "aiwm-dhcp"

_IDS = uuid.UUID("0b1ed1f6-2d6c-4a53-8c4e-6a3f0e7c3f0d")
_BOOTPC, _BOOTPS = "68", "67"


def filter_xml(name: str) -> str:
    """The filter `STATIC` or `DHCP`. Its UUID follows from its name: libvirt takes a new definition only with the old
    one's."""
    rules = [*_ADDRESS, *([_DISCOVER] if name == DHCP else []), *_REST]
    return document(
        E.filter(
            E.uuid(str(uuid.uuid5(_IDS, name))),
            *(_rule(priority, *rule) for priority, rule in enumerate(rules, start=1)),
            name=name,
            chain="root",
        )
    )


def same(one: str, other: str) -> bool:
    """Whether both say the same, however they are written down."""
    return _canonical(one) == _canonical(other)


def _rule(priority: int, action: str, direction: str, match: "etree._Element") -> "etree._Element":
    return E.rule(match, action=action, direction=direction, priority=str(priority))
