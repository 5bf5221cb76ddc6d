"""What the last look at a node saw there that no VM and no image accounts for, and what it could not look at, in words
for an operator: `Node.strays`.

See `resources.strays`, which writes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nodes import claims, devices
from nodes.models import Node, StrayAddress

_MOST_TOLD = 20


@dataclass(frozen=True)
class Counts:
    """How many there are of each kind, of which no more are kept than `resources.strays.MOST`."""

    foreign: int  # domains
    orphans: int  # domains and volumes
    elsewhere: int  # of VMs that are on another node
    images: int
    diskless: int  # VMs


def counts(node: Node) -> Counts:
    return Counts(
        foreign=len(node.strays.get("foreign", ())),
        orphans=sum(map(len, node.strays.get("orphans", {}).values())),
        elsewhere=sum(len(names) for vms in node.strays.get("elsewhere", {}).values() for names in vms.values()),
        images=len(node.strays.get("images", ())),
        diskless=len(node.strays.get("diskless", ())),
    )


def summary(node: Node) -> list[str]:
    """In a few words each, as `not all seen`, `2 foreign` and `1 orphaned`."""
    found = counts(node)
    images = "old image" if found.images == 1 else "old images"
    kinds = (
        (found.foreign, "foreign"),
        (found.orphans, "orphaned"),
        (found.elsewhere, "of other nodes"),
        (found.images, images),
        (found.diskless, "without a disk"),
    )
    unseen = ["not looked at yet"] if node.to_compare and not node.lost else []
    unseen += ["not all seen"] if node.strays.get("unseen") else []
    return unseen + [f"{number} {kind}" for number, kind in kinds if number]


def sentences(node: Node) -> Iterator[str]:
    """What could not be looked at; what is there, and what can be done about it."""
    if node.to_compare and not node.lost:
        trouble = devices.trouble_of_look(node)
        failed = f" The last try failed: {trouble}." if trouble else ""
        yield (
            "What domains are on it has not been looked at yet; it takes no new VM before. A worker does that within a "
            f"minute of its answering.{failed}"
        )
    for reason in node.strays.get("unseen", ()):
        yield f"The last look at it did not see all: {reason}"
    yield from _missing(node)
    yield from _domains(node)
    yield from _gpus(node)
    yield from _addresses(node)
    if images := node.strays.get("images"):
        yield (
            f"{', '.join(images)}: of images that were imported anew or removed since. Disks that were made of them "
            f"still need them; manage.py images prune {node.name} removes those that no disk needs."
        )


def _missing(node: Node) -> Iterator[str]:
    diskless = node.strays.get("diskless", [])
    if len(diskless) == 1:
        yield (
            f"The disk of the VM {diskless[0]} is gone from the pool {node.pool}. See that what the pool is on is "
            "mounted; put the disk back from a backup, or delete the VM."
        )
    elif diskless:
        yield (
            f"The disks of the VMs {_some(diskless)} are gone from the pool {node.pool}. See that what the pool is on "
            "is mounted; put the disks back from a backup, or delete the VMs."
        )


def _domains(node: Node) -> Iterator[str]:
    """And volumes."""
    foreign = node.strays.get("foreign", ())
    if len(foreign) == 1:
        yield f"The domain {foreign[0]} is not of AIWM. It is let be, and takes of the node what AIWM counts as free."
    elif foreign:
        names = ", ".join(foreign)
        yield f"The domains {names} are not of AIWM. They are let be, and take of the node what AIWM counts as free."
    for vm_id, names in node.strays.get("orphans", {}).items():
        yield (
            f"{', '.join(names)}: named as of a VM ({vm_id}) that is not there. If nobody wants it, remove it on the "
            "node: virsh destroy if it runs, virsh undefine --nvram --snapshots-metadata, virsh vol-delete."
        )
    for other, vms in node.strays.get("elsewhere", {}).items():
        there = _some([name for names in vms.values() for name in names])
        yield (
            f"{there}: of {_vms(len(vms))} on {other}. Never remove them here before you know that {other} has "
            "its own. If both nodes are one hypervisor under two URIs, put one in maintenance, and delete it when "
            "its VMs are gone; its capacity is counted twice until then."
        )


def _gpus(node: Node) -> Iterator[str]:
    for gpu in node.gpus.exclude(stray_domain=""):
        if node.to_compare:
            yield f"{gpu.device_id} is given to no VM until it was looked at: {gpu.stray_domain} had it."
            continue
        yield (
            f"{gpu.device_id} is a device of the domain {gpu.stray_domain}, and is given to no VM while it is. After a "
            f"change of that domain: manage.py nodes refresh {node.name}."
        )


def _addresses(node: Node) -> Iterator[str]:
    strays = list(node.stray_addresses.select_related("node"))
    held = claims.held_by_vms(strays)
    others = [stray for stray in strays if stray.domain != f"vm-{held.get(stray)}"]
    if others:
        told = _some([f"{_where(stray)} ({stray.domain})" for stray in others])
        until = "until it was looked at" if node.to_compare else "while such domains have them"
        yield f"Addresses that are given to no VM {until}: {told}."
    if node.to_compare:
        return
    for stray in [stray for stray in others if stray in held]:
        vm_id = held[stray]
        yield (
            f"{_where(stray)} is the address of the VM {vm_id}, and of the domain {stray.domain} here as well. Only "
            "one of the two can be reached: change the VM's address, or remove the domain."
        )


def _some(names: list[str]) -> str:
    told = names[:_MOST_TOLD]
    return ", ".join(told) + (f" and {len(names) - len(told)} more" if len(names) > len(told) else "")


def _vms(number: int) -> str:
    return "a VM that is" if number == 1 else f"{number} VMs that are"


def _where(stray: StrayAddress) -> str:
    return f"{stray.address} of VLAN {stray.vlan_id}" if stray.vlan_id else stray.address
