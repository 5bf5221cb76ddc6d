"""What domains have on a node which no VM accounts for: GPUs of the node and addresses. They are given to no VM.

What a domain was given stands in its XML alone, a call for each. So it is asked for where a sweep finds that other such
domains are there than before, in a task of its own, and whenever the node is asked what it has. All of them are
asked: what is kept of them for operators, `Node.strays`, is cut.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from django.db.models import F

from common.db import atomic
from nodes import claims, lost
from nodes.models import Gpu, Node, StrayAddress
from nodes.queries import node_ref
from tasks.engine import Run
from tasks.models import OPEN, Task, TaskStatus
from tasks.queue import enqueue
from tasks.registry import Step, TaskType, Wait
from vmbackends import get_backend
from vmbackends.base import Devices
from vmbackends.pci import PciAddress, pci_address

log = logging.getLogger(__name__)

DEVICES = "node-devices"
_LONGEST_NAME = 255
# What a step that asks a node gives where the node was changed meanwhile: it asks once more.
CHANGED = Wait(1.0, "Looking once more, for the node was changed meanwhile")


@dataclass
class Use:
    """What the app of VMs, which is above this one, knows of domains. It says so in its `ready()`."""

    vms_on: Callable[[Node], Collection[str]] = lambda _: ()  # ids of those that may have one on a node


use = Use()


@atomic
def look_soon(node: Node, gone: Collection[str] | None = None) -> None:
    """Have a worker look, unless a task waits that will see the same.

    `gone` is of a node that was lost, whose domains have been compared: the ids of VMs that were forgotten and have
    nothing there. With it the look ends the comparison, see `nodes.lost`, if the node is still as `node` was read.
    """
    if not Task.objects.filter(subject_id=node.id, type=DEVICES, status=TaskStatus.PENDING).exists():
        payload = {} if gone is None else {"gone": sorted(gone), "version": node.version}
        enqueue(DEVICES, subject_id=node.id, node_id=node.id, org_id=None, created_by=None, payload=payload)


def trouble_of_look(node: Node) -> str:
    """Why a look that is to be taken could not be, if it was tried."""
    task = Task.objects.filter(subject_id=node.id, type=DEVICES, status__in=OPEN).order_by("created_at").first()
    return task.state.get("trouble", "") if task else ""


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
def write_down(node: Node, devices: Devices, gone: Collection[str] | None = None) -> bool:
    """False, and nothing, where the node was changed since it was read: this is of other bridges then, or of before it
    was lost. `gone` is as in `look_soon`."""
    unchanged = Node.objects.filter(pk=node.pk, version=node.version)
    if not unchanged.update(version=F("version")):  # and is until the end of the transaction
        return False
    _write_gpus(node, devices.pci)
    _write_addresses(node, devices.addresses)
    if gone is not None:
        lost.compared(node, gone)
    return True


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


def _look(run: Run) -> Wait | None:
    node = Node.objects.filter(pk=run.task.subject_id, lost=False).first()
    if node is None:
        return None  # it was deleted or lost while the task waited
    gone = run.payload["gone"] if run.payload.get("version") == node.version else None
    return None if write_down(node, ask(node), gone) else CHANGED


def _settle(task: Task) -> None:
    """A node has no state of its own that waits for the task."""


TASK = TaskType(
    name=DEVICES,
    steps=(Step("look", 100, "Looking for what domains of nobody's have", _look),),
    settle=_settle,
    deadline_s=None,  # nobody would ask again
    retry_refusals=True,
)
