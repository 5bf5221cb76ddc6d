"""A node's GPUs and images brought to what an operator says, or to what the node itself reports."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.errors import Conflict, FieldError, ValidationFailed
from nodes import mig
from nodes.claims import is_claimed
from nodes.models import Gpu, GpuUse, Node, NodeImage
from nodes.requests import GpuBody
from vmbackends import get_backend
from vmbackends.base import GpuReport

log = logging.getLogger(__name__)


def set_images(node: Node, os_images: Iterable[str]) -> None:
    NodeImage.objects.filter(node=node).exclude(os_image__in=list(os_images)).delete()
    there = set(NodeImage.objects.filter(node=node).values_list("os_image", flat=True))
    NodeImage.objects.bulk_create(
        [NodeImage(node=node, os_image=name) for name in sorted(set(os_images) - there)], ignore_conflicts=True
    )


def set_gpus(node: Node, bodies: Sequence[GpuBody]) -> None:
    """What stands on the list is what the node has. Raises ValidationFailed, or Conflict for a GPU that a VM holds."""
    _check_uses(bodies)
    there = {gpu.device_id: gpu for gpu in Gpu.objects.filter(node=node)}
    wanted = {body.device_id: body for body in bodies}
    for device_id, gpu in there.items():
        if device_id not in wanted:
            _remove(gpu)
    for device_id, body in wanted.items():
        columns = {
            "model": body.model,
            "memory_mb": body.memory_mb,
            "pci_address": body.pci_address,
            "use": body.use,
        }
        if device_id in there:
            _change(there[device_id], columns)
        else:
            Gpu.objects.create(node=node, device_id=device_id, **columns)


def note_gpus(node: Node, reports: Sequence[GpuReport]) -> None:
    """What the node itself found. What it has no more is kept and given to nobody: a VM may still hold it."""
    there = {gpu.device_id: gpu for gpu in Gpu.objects.filter(node=node)}
    found = {report.device_id: report for report in reports}
    Gpu.objects.filter(node=node).exclude(device_id__in=list(found)).update(present=False)
    Gpu.objects.filter(node=node, device_id__in=list(found)).update(present=True)
    for device_id, report in found.items():
        columns = {"model": report.model, "memory_mb": report.memory_mb, "pci_address": report.pci_address}
        gpu = there.get(device_id)
        if gpu is None:
            Gpu.objects.create(node=node, device_id=device_id, **columns)
        elif is_claimed(gpu):
            if _differs(gpu, columns):
                log.warning("a GPU that is in use is another board now", extra={"node": node.name, "gpu": device_id})
        else:
            _change(gpu, columns)


def _check_uses(bodies: Sequence[GpuBody]) -> None:
    # A backend that reaches no node has no card whose mode would have to be switched.
    mixes = get_backend().capabilities.local_reads
    errors = []
    for place, body in enumerate(bodies):
        field = f"gpus.{place}.use"
        use = GpuUse(body.use)
        if use is GpuUse.EITHER and not mixes:
            errors.append(FieldError(field, "invalid", "Say passthrough or mig: a real card is set up for one of them"))
        elif use is GpuUse.MIG and not mig.profiles_for(body.model, body.memory_mb):
            errors.append(FieldError(field, "invalid", f"{body.model} with {body.memory_mb} MB has no MIG"))
    if errors:
        raise ValidationFailed(errors)


def _differs(gpu: Gpu, columns: Mapping[str, Any]) -> bool:
    return any(getattr(gpu, name) != value for name, value in columns.items())


# The write comes first and the question after it: a claim writes the same row, so that each waits for the other, and
# whoever comes second sees what the first did.


def _change(gpu: Gpu, columns: Mapping[str, Any]) -> None:
    if _differs(gpu, columns):
        Gpu.objects.filter(pk=gpu.pk).update(**columns)
        _refuse_if_claimed(gpu)


def _remove(gpu: Gpu) -> None:
    Gpu.objects.filter(pk=gpu.pk).delete()
    _refuse_if_claimed(gpu)


def _refuse_if_claimed(gpu: Gpu) -> None:
    if is_claimed(gpu):
        raise Conflict(f"{gpu.device_id} is held by a VM and cannot be changed or removed.")
