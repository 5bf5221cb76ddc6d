"""The task that asks a node what it is and has."""

from typing import Any

from common.db import atomic
from common.errors import NodeUnavailable
from nodes import devices, sweep
from nodes.hardware import note_gpus, set_images
from nodes.images import kept_among
from nodes.models import Node
from nodes.queries import ref_to_probe
from tasks.engine import Run
from tasks.models import Task
from tasks.registry import Step, TaskType, Wait
from vmbackends import get_backend
from vmbackends.base import NodeReport
from vmbackends.errors import NodeUnreachable, NotAsked

REFRESH = "node-refresh"


def probe(run: Run) -> Wait | None:
    """Ask the node and write down what it says. That it is out of reach is an answer too."""
    node = Node.objects.filter(pk=run.task.subject_id, lost=False).first()
    if node is None:
        return None  # it was deleted or lost while the task waited
    try:
        report = get_backend().probe(ref_to_probe(node))
        taken = devices.ask(node)
    except NodeUnreachable as e:
        if not isinstance(e, NotAsked) and not e.busy:
            sweep.mark_unseen(node)
        raise NodeUnavailable(f"{node.name} {'is too busy' if e.busy else 'cannot be reached'}.") from e
    if not devices.write_down(node, taken):
        return devices.CHANGED
    write_down(node, report)
    return None


@atomic
def write_down(node: Node, report: NodeReport) -> None:
    """What the report does not tell stays as operators said it."""
    reported = {
        "cap_vcpus": report.vcpus,
        "cap_ram_mb": report.ram_mb,
        "cap_disk_gb": report.disk_gb,
        "probed_domain_type": report.domain_type,
        "probed_cpu_mode": report.cpu_mode,
        "hypervisor": dict(report.versions) or None,
        "capabilities": None if report.capabilities is None else list(report.capabilities),
    }
    columns: dict[str, Any] = {name: value for name, value in reported.items() if value is not None}
    if columns:
        Node.objects.filter(pk=node.pk).update(**columns)
    if report.os_images is not None or report.images is not None:
        set_images(node, {*(report.os_images or ()), *kept_among(report.images or ())})
    if report.gpus is not None:
        note_gpus(node, report.gpus)
    # Not a boot id that is new: whoever writes it down must start again what the reboot switched off.
    sweep.mark_seen(node, node.boot_id or report.boot_id)


def settle(task: Task) -> None:
    """A node has no state of its own that waits for the task."""


TASK = TaskType(
    name=REFRESH,
    steps=(Step("probe", 100, "Asking the node", probe),),
    settle=settle,
    deadline_s=120.0,
)
