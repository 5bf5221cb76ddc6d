"""What follows from an operator's word that a node is lost, and from taking it back.

Lost, it is left alone: its tasks end, its VMs are in error, and operators may *forget* those whose things are to be
free. Back, domains of these may still run there. So it takes no new VM, and what such domains had is given to none,
until a sweep has seen its domains, and a look after that what they have.
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
    found_gone: Callable[[Collection[str]], None] = lambda _: None  # forgotten ones, by their ids


use = Use()


def went(node: Node) -> None:
    """In the transaction in which it is marked lost: what is held for forgotten VMs is free again.

    After it the node is buried. Where that fails it is logged, and the next sweep does it.
    """
    domains = [vm.domain for vm in use.forgotten(node)]
    if domains:
        Gpu.objects.filter(node=node, stray_domain__in=domains).update(stray_domain="")
        StrayAddress.objects.filter(node=node, domain__in=domains).delete()
        claims.hold_for_strays()

    def bury() -> None:
        use.bury(node)

    transaction.on_commit(bury, robust=True)


def hold(node: Node) -> None:
    """In the transaction in which that is taken back, and whenever its GPUs are listed anew until it was looked at."""
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


def compared(node: Node, gone: Collection[str]) -> None:
    """In the transaction in which it is written down what its domains have. `gone` are the ids of VMs that were
    forgotten and have nothing there."""
    Node.objects.filter(pk=node.pk).update(to_compare=False)
    use.found_gone(gone)
