#!/usr/bin/python3 -I
"""Keeps VMs on Open vSwitch to their own MAC and IPv4 address. libvirt runs this on the node.

libvirt's own filters do not reach Open vSwitch. This needs Python 3 and ovs-ofctl. On each node that uses it, once:

    install -D -m 755 hooks/qemu.d/aiwm.py /etc/libvirt/hooks/qemu.d/aiwm
    systemctl restart libvirtd

libvirt gives the domain's XML on stdin, with the VM's id and static address in our <metadata>. Domains that are not
ours are left alone. While this fails, VMs do not start: https://libvirt.org/hooks.html

Open vSwitch forgets flows when it restarts. Restart libvirtd after it, which puts them back.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from xml.etree import ElementTree

METADATA = "{urn:aiwm:vm:1}"
# The table for frames of VMs that get their address by DHCP. It has the addresses that are not theirs.
TAKEN_TABLE = 66
# Marks the one flow that all VMs share. Each other has the end of its VM's id.
SHARED_COOKIE = 0xA1F3

# "start" comes before the guest runs, when libvirt has made its taps, "reconnect" when libvirtd was restarted.
ON = {"start", "started", "reconnect"}
OFF = {"stopped", "release"}


@dataclass(frozen=True)
class Port:
    """A VM's port on an Open vSwitch bridge. `vlan` 0 is untagged; `address` is None with DHCP."""

    vm_id: str
    bridge: str
    tap: str
    mac: str
    vlan: int
    address: IPv4Address | None

    @property
    def cookie(self) -> int:
        return int(self.vm_id[-16:], 16)


def main() -> int:
    operation = sys.argv[2]
    if operation not in ON | OFF:
        return 0
    for port in ports(sys.stdin.read()):
        if operation in ON:
            if port.tap:
                tell(port.bridge, "add-flows", "-", text="".join(f"{flow}\n" for flow in flows(port)))
        else:
            tell(port.bridge, "del-flows", f"cookie={port.cookie:#x}/-1")
    return 0


def ports(xml: str) -> Iterator[Port]:
    """Those of a VM of ours. Raises ValueError for what none of ours has."""
    domain = ElementTree.fromstring(xml)  # noqa: S314  # libvirtd wrote it
    ours = domain.find(f"metadata/{METADATA}vm")
    if ours is None:
        return
    address = ours.findtext(f"{METADATA}address")
    for interface in domain.iterfind("devices/interface"):
        if interface.find("virtualport[@type='openvswitch']") is not None:
            yield Port(
                vm_id=matching("[0-9a-f]{24}", ours.findtext(f"{METADATA}id")),
                bridge=matching(".+", attribute(interface, "source", "bridge")),
                tap=matching(r"[^\s,=]*", attribute(interface, "target", "dev") or ""),
                mac=matching("[0-9a-f]{2}(:[0-9a-f]{2}){5}", attribute(interface, "mac", "address")),
                vlan=int(attribute(interface, "vlan/tag", "id") or 0),
                address=IPv4Address(address) if address is not None else None,
            )


def attribute(element: ElementTree.Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)


def matching(pattern: str, text: str | None) -> str:
    if text is None or not re.fullmatch(pattern, text):
        raise ValueError(f"{text!r} is not what AIWM writes")
    return text


def flows(port: Port) -> Iterator[str]:
    """https://www.openvswitch.org/support/dist-docs/ovs-ofctl.8.txt; those of a higher priority come first.

    The first one drops whatever the next do not let through, and so the port is never open while they are added.
    """
    start = f"cookie={port.cookie:#x},priority"
    own = f"in_port={port.tap},dl_src={port.mac}"
    own_arp, own_ip = f"{own},arp,arp_sha={port.mac}", f"{own},ip"
    yield f"{start}=100,in_port={port.tap},actions=drop"
    # None offers addresses to others.
    yield f"{start}=300,in_port={port.tap},udp,tp_dst=68,actions=drop"
    if port.address is None:
        unless_taken = f"actions=load:{port.vlan}->NXM_NX_REG0[],resubmit(,{TAKEN_TABLE})"
        yield f"cookie={SHARED_COOKIE:#x},table={TAKEN_TABLE},priority=0,actions=NORMAL"
        yield f"{start}=200,{own_arp},{unless_taken}"
        yield f"{start}=200,{own_ip},{unless_taken}"
    else:
        taken = f"cookie={port.cookie:#x},table={TAKEN_TABLE},priority=100,reg0={port.vlan}"
        yield f"{taken},arp,arp_spa={port.address},actions=drop"
        yield f"{taken},ip,nw_src={port.address},actions=drop"
        # Whether another has its address, one may ask that does not use it yet: RFC 5227.
        yield f"{start}=200,{own_arp},arp_op=1,arp_spa=0.0.0.0,arp_tpa={port.address},actions=NORMAL"
        yield f"{start}=200,{own_arp},arp_spa={port.address},actions=NORMAL"
        yield f"{start}=200,{own_ip},nw_src={port.address},actions=NORMAL"


def tell(bridge: str, command: str, argument: str, text: str = "") -> None:
    """Raises CalledProcessError."""
    argv = ["ovs-ofctl", "--timeout=10", command, bridge, argument]
    subprocess.run(argv, input=text, encoding="utf-8", stdout=subprocess.DEVNULL, check=True)  # noqa: S603


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, ElementTree.ParseError, subprocess.CalledProcessError) as e:
        sys.exit(f"AIWM's hook cannot filter what the VM sends: {e}")
