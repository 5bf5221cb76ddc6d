"""What domains have on a node which no VM accounts for: GPUs of the node and addresses. They are given to no VM.

What a domain was given stands in its XML alone, a call for each. So it is asked for where a sweep finds that other such
domains are there than before, in a task of its own, and whenever the node is asked what it has. All of them are
asked: what is kept of them for operators, `Node.strays`, is cut.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from common.db import atomic
from nodes import claims, lost
from nodes.models import Gpu, Node, StrayAddress
from nodes.queries import node_ref
from tasks.engine import Run
from tasks.models import Task, TaskStatus
from tasks.queue import enqueue
from tasks.registry import Step, TaskType
from vmbackends import get_backend
from vmbackends.base import Devices
from vmbackends.pci import PciAddress, pci_address

log = logging.getLogger(__name__)

DEVICES = "node-devices"
_LONGEST_NAME = 255


@dataclass
class Use:
    """What the app of VMs, which is above this one, knows of domains. It says so in its `ready()`."""

    vms_on: Callable[[Node], Collection[str]] = lambda _: ()  # ids of those that may have one on a node


use = Use()


@atomic
def look_soon(node: Node) -> None:
    """Have a worker look, unless a task waits that will see the same."""
    if not Task.objects.filter(subject_id=node.id, type=DEVICES, status=TaskStatus.PENDING).exists():
        enqueue(DEVICES, subject_id=node.id, node_id=node.id, org_id=None, created_by=None)


def ask(node: Node) -> Devices:
    """What such domains have. Raises BackendError. Asked once more where a VM of ours came there meanwhile."""
    known = set(use.vms_on(node))
    while True:
        found = get_backend().devices_of_others(node_ref(node), known)
        came = set(use.vms_on(node)) - known
        if not came:
            return found
        known |= came


@atomic
def write_down(node: Node, devices: Devices) -> None:
    _write_gpus(node, devices.pci)
    _write_addresses(node, devices.addresses)


def _write_gpus(node: Node, devices: Mapping[PciAddress, str]) -> None:
    by_board = {address.board: name[:_LONGEST_NAME] for address, name in devices.items()}
    for gpu in Gpu.objects.filter(node=node):
        address = pci_address(gpu.pci_address)
        domain = by_board.get(address.board, "") if address else ""
        if domain != gpu.stray_domain:
            Gpu.objects.filter(pk=gpu.pk).update(stray_domain=domain)
            extra = {"node": node.name, "gpu": gpu.device_id, "domain": domain or gpu.stray_domain}
            log.warning(
                "a GPU is in a domain of nobody's" if domain else "a GPU is in no such domain more", extra=extra
            )


def _write_addresses(node: Node, addresses: Mapping[tuple[int, str], str]) -> None:
    known = {(row.vlan_id, row.address): row for row in StrayAddress.objects.filter(node=node)}
    gone = [row.pk for key, row in known.items() if key not in addresses]
    StrayAddress.objects.filter(pk__in=gone).delete()
    rows = [
        StrayAddress(node=node, vlan_id=vlan_id, address=address, domain=name[:_LONGEST_NAME])
        for (vlan_id, address), name in addresses.items()
    ]
    StrayAddress.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=("node", "vlan_id", "address"), update_fields=("domain",)
    )
    claims.hold_for_strays()
    if gone or addresses.keys() - known.keys():
        extra = {"node": node.name, "addresses": len(addresses)}
        log.warning("other addresses are of domains of nobody's than before", extra=extra)


def _look(run: Run) -> None:
    node = Node.objects.filter(pk=run.task.subject_id).first()
    if node is not None:  # it was not deleted while the task waited
        write_down(node, ask(node))
        lost.compared(node)


def _settle(task: Task) -> None:
    """A node has no state of its own that waits for the task."""


TASK = TaskType(
    name=DEVICES,
    steps=(Step("look", 100, "Looking for what domains of nobody's have", _look),),
    settle=_settle,
    deadline_s=None,  # nobody would ask again
    retry_refusals=True,
)
