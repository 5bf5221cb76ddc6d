"""Filters of what a guest may send: https://libvirt.org/formatnwfilter.html

They stand between a guest's tap and a Linux bridge. A guest sends from its own MAC and its own IPv4 address, in IP
packets and in ARP alike, and is sent IPv4 and ARP. Nothing else passes: no IPv6, and no VLAN tag of the guest's own.
None answers DHCP for others, because such answers are believed (see `DHCP`).

Each filter is one list of rules that refers to no other filter, so that a node needs no files of ours, nor of
libvirt's.
"""

import uuid

from lxml import etree
from lxml.builder import E

from vmbackends.libvirt.xml.text import document

# For guests whose address is known: the interface says it in the parameter IP.
STATIC = "aiwm-static"
# For guests whose address is the one that a DHCP server gives them: libvirt listens for it and puts it for IP. Until
# then it lets through nothing but DHCP.
DHCP = "aiwm-dhcp"

_IDS = uuid.UUID("0b1ed1f6-2d6c-4a53-8c4e-6a3f0e7c3f0d")
_NO_ADDRESS, _EVERYBODY = "0.0.0.0", "255.255.255.255"  # noqa: S104  # an address in packets, not one to listen on
_DHCP_SERVER, _DHCP_CLIENT = "67", "68"


def filter_xml(name: str) -> str:
    """The filter `STATIC` or `DHCP`, as libvirt itself would write it.

    Its UUID follows from its name: libvirt takes a new definition of a filter only with the old one's UUID.
    """
    if name not in (STATIC, DHCP):
        raise ValueError(f"There is no filter {name}")
    rules = [*_own_mac(), *_own_address(), *(_discovery() if name == DHCP else ()), *_nothing_else()]
    for priority, rule in enumerate(rules, start=1):
        rule.set("priority", str(priority))
    return document(E.filter(E.uuid(str(uuid.uuid5(_IDS, name))), *rules, name=name, chain="root"))


def same(one: str, other: str) -> bool:
    """Whether two filters say the same, however they are indented."""
    return _canonical(one) == _canonical(other)


def _own_mac() -> "list[etree._Element]":
    return [_rule("drop", "out", E.mac(match="no", srcmacaddr="$MAC"))]


def _own_address() -> "list[etree._Element]":
    """In ARP, where one that does not have its address yet may ask whether another has it (RFC 5227), and in IP."""
    probe = E.arp(opcode="Request", arpsrcmacaddr="$MAC", arpsrcipaddr=_NO_ADDRESS, arpdstipaddr="$IP")
    return [
        _rule("accept", "out", E.arp(arpsrcmacaddr="$MAC", arpsrcipaddr="$IP")),
        _rule("accept", "out", probe),
        _rule("drop", "out", E.ip(protocol="udp", dstportstart=_DHCP_CLIENT)),
        _rule("accept", "out", E.ip(srcipaddr="$IP")),
    ]


def _discovery() -> "list[etree._Element]":
    """The question for an address of one that has none: RFC 2131, section 4.1."""
    question = E.ip(srcipaddr=_NO_ADDRESS, dstipaddr=_EVERYBODY, protocol="udp", srcportstart=_DHCP_CLIENT,
                    dstportstart=_DHCP_SERVER)  # fmt: skip
    return [_rule("accept", "out", question)]


def _nothing_else() -> "list[etree._Element]":
    return [
        _rule("accept", "in", E.mac(protocolid="arp")),
        _rule("accept", "in", E.mac(protocolid="ipv4")),
        _rule("drop", "inout", E.mac()),
    ]


def _rule(action: str, direction: str, match: "etree._Element") -> "etree._Element":
    return E.rule(match, action=action, direction=direction)


def _canonical(xml: str) -> str:
    return etree.canonicalize(xml, strip_text=True)
