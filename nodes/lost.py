"""What follows from an operator's word that a node is lost, and from taking it back.

Lost, it is left alone: its tasks end, its VMs are in error, and operators may *forget* those whose things are to be
free. Back, domains of these may still run there. So until it has been looked at it takes no new VM, and what such
domains had is given to none.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import transaction

from nodes import claims
from nodes.models import Gpu, Node, StrayAddress


@dataclass(frozen=True)
class Forgotten:
    """What the domain of a VM had that was forgotten. `vlan_id` 0 is the untagged network; `gpus` are device ids."""

    domain: str
    vlan_id: int
    address: str | None
    gpus: Collection[str]


@dataclass
class Use:
    """What the app of VMs, which is above this one, does and knows. It says so in its `ready()`."""

    bury: Callable[[Node], None] = lambda _: None  # ends its tasks, and puts its VMs in error
    forgotten: Callable[[Node], Collection[Forgotten]] = lambda _: ()


use = Use()


def went(node: Node) -> None:
    """Once it is written down. Where this fails it is logged, and the next sweep does it."""

    def bury() -> None:
        use.bury(node)

    transaction.on_commit(bury, robust=True)


def came_back(node: Node) -> None:
    forgotten = use.forgotten(node)
    for vm in forgotten:
        Gpu.objects.filter(node=node, device_id__in=vm.gpus).update(stray_domain=vm.domain)
    StrayAddress.objects.bulk_create(
        [
            StrayAddress(node=node, vlan_id=vm.vlan_id, address=vm.address, domain=vm.domain)
            for vm in forgotten
            if vm.address is not None
        ],
        ignore_conflicts=True,
    )
    if forgotten:
        claims.hold_for_strays()


def compared(node: Node) -> None:
    """Its domains were looked at since it came back."""
    Node.objects.filter(pk=node.pk).update(to_compare=False)
