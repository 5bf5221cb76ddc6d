"""The networks of a node: bridges inside of it, and cables from two of them to the machine.

Addresses are of 198.18.0.0/15, which RFC 2544 sets aside for benchmarks, so that no real network is hidden. Node
number N has four /24 from 198.18.(4N).0 on: the first is untagged, the second VLAN 100, the third VLAN 200.
Nothing is forwarded or translated: guests reach the machine and each other, and nobody else.
"""

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from .shell import CommandFailed, run

MOST_NODES = 128
_LOCK = Path("/run/aiwm-lab.lock")
_ALL = IPv4Network("198.18.0.0/15")


@dataclass(frozen=True)
class Lan:
    """One layer 2 network on a node. `vlan_id` None is untagged.

    `cable` is the machine's interface into it; None where the machine has none, and the gateway is the bridge's own.
    """

    vlan_id: int | None
    bridge: str
    network: IPv4Network
    cable: str | None

    @property
    def gateway(self) -> IPv4Address:
        return self.network[1]

    @property
    def inner(self) -> str:
        """The cable's end in the node."""
        return f"{self.cable}i"

    @property
    def on_bridge(self) -> str:
        """The address of the bridge itself, with its prefix: the gateway's where no cable leads out."""
        address = self.network[2] if self.cable else self.gateway
        return f"{address}/{self.network.prefixlen}"


def lans_of(number: int) -> tuple[Lan, Lan, Lan]:
    """The networks of the node of this number: untagged (with DHCP from .100 to .199), VLAN 100 and VLAN 200."""
    nets = list(_ALL.subnets(new_prefix=24))[4 * number : 4 * number + 3]
    return (
        Lan(None, "br0", nets[0], f"aiwm{number}u"),
        Lan(100, "br100", nets[1], f"aiwm{number}v100"),
        Lan(200, "br200", nets[2], None),
    )


@contextmanager
def alone() -> Iterator[None]:
    """Around `claim` and `plug_in`: whatever else is between the two has been killed there."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def claim(number: int | None, living: Collection[int]) -> int:
    """The number, or the first free one, taken by making its cables. `living` are those of nodes that run, with their
    cables or without. Raises CommandFailed where it is in use."""
    for n in range(MOST_NODES) if number is None else [number]:
        if n in living:
            continue
        try:
            _make_cables(lans_of(n))
        except CommandFailed as e:
            if "File exists" not in str(e):
                raise
        else:
            return n
    if number is None:
        raise CommandFailed(f"All {MOST_NODES} networks of lab nodes are in use.")
    raise CommandFailed(
        f"The networks of this node, {lans_of(number)[0].network} and the next, have been taken by another lab's while "
        "it was off. Remove that lab, or this one: `make lab-down` in its folder."
    )


def _make_cables(lans: tuple[Lan, ...]) -> None:
    """Two nodes cannot have one number: the kernel lets an interface's name be taken once."""
    made = []
    try:
        for lan in lans:
            if lan.cable:
                if _is_here(lan.inner):
                    run("ip", "link", "delete", lan.inner)  # whoever made them was killed before there was a node
                run("ip", "link", "add", lan.cable, "type", "veth", "peer", "name", lan.inner)
                made.append(lan.cable)
    except CommandFailed:
        for cable in made:
            run("ip", "link", "delete", cable)
        raise


def plug_in(lans: tuple[Lan, ...], pid: int) -> None:
    """Lead the cables into the network namespace of this process, and give the machine its addresses. May be
    repeated."""
    for lan in lans:
        if lan.cable:
            if _is_here(lan.inner):
                run("ip", "link", "set", lan.inner, "netns", str(pid))
            inside = ("nsenter", f"--target={pid}", "--net", "ip", "link", "set", lan.inner)
            run(*inside, "master", lan.bridge, "up")
            run("ip", "address", "replace", f"{lan.gateway}/{lan.network.prefixlen}", "dev", lan.cable)
            run("ip", "link", "set", lan.cable, "up")


def _is_here(interface: str) -> bool:
    return Path(f"/sys/class/net/{interface}").exists()


def give_back(lans: tuple[Lan, ...]) -> None:
    """Remove the cables of a node that has not ended yet. The kernel removes those of one that has."""
    for lan in lans:
        if lan.cable:
            try:
                run("ip", "link", "delete", lan.cable)
            except CommandFailed as e:
                if "Cannot find device" not in str(e):
                    raise
