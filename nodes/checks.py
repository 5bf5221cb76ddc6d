"""What a node lacks before VMs can be put on it, in the order in which it is to be mended."""

from collections.abc import Iterator
from dataclasses import dataclass

from accounts.actors import Actor
from common.errors import Conflict, NodeUnavailable, Unsupported
from nodes.images import kept_among
from nodes.models import Firmware, Image, Node, NodeImage
from nodes.queries import ref_to_probe
from tasks.models import Worker
from vmbackends import get_backend
from vmbackends.base import Lack, NodeReport
from vmbackends.errors import NodeUnreachable, Refused


@dataclass(frozen=True)
class Checkup:
    report: NodeReport
    lacks: tuple[Lack, ...]


def check(actor: Actor, node: Node) -> Checkup:
    """Ask the node, from this process; nothing is written down. Raises Forbidden, Conflict for a lost node,
    NodeUnavailable, or Unsupported where it answers and tells nothing."""
    actor.require_operator()
    if node.lost:
        raise Conflict(f"{node.name} is marked lost and is left alone.")
    try:
        report = get_backend().probe(ref_to_probe(node))
    except NodeUnreachable as e:
        raise NodeUnavailable(e.message) from e
    except Refused as e:
        raise Unsupported(e.message) from e
    return Checkup(report, (*report.lacks, *_ours(node, report)))


def _ours(node: Node, report: NodeReport) -> Iterator[Lack]:
    """What the node itself cannot know."""
    kept = kept_among(report.images or ())
    if report.images and not kept:
        yield Lack("None of its images is one that is kept here.", f"manage.py images push NAME {node.name}")
    yield from _wanted_by_images(report, kept)
    if not Worker.objects.alive().exists():
        yield Lack("No worker lives, so that nothing is done on any node.", "manage.py worker")
    if _is_news(node, report, kept):
        yield Lack("What it has is not written down yet.", f"manage.py nodes refresh {node.name}")
    if not node.enabled:
        yield Lack("It is in maintenance: it takes no new VMs.", "End its maintenance in the admin.")


def _wanted_by_images(report: NodeReport, kept: set[str]) -> Iterator[Lack]:
    """What guests of its images are given, and the node does not have."""
    if report.capabilities is None:
        return
    images = list(Image.objects.filter(os_image__in=kept).order_by("os_image"))
    for capability, wanted_by, package in (
        ("uefi", [image.os_image for image in images if image.firmware == Firmware.UEFI], "ovmf"),
        ("tpm", [image.os_image for image in images if image.tpm], "swtpm-tools"),
    ):
        if wanted_by and capability not in report.capabilities:
            what = f"It has no {capability.upper()} for guests of {', '.join(wanted_by)}."
            yield Lack(what, f"apt-get install {package}")


def _is_news(node: Node, report: NodeReport, kept: set[str]) -> bool:
    written = (
        (node.cap_vcpus, report.vcpus),
        (node.cap_ram_mb, report.ram_mb),
        (node.cap_disk_gb, report.disk_gb),
        (node.probed_domain_type, report.domain_type),
        (node.probed_cpu_mode, report.cpu_mode),
        (node.capabilities, None if report.capabilities is None else list(report.capabilities)),
    )
    if any(told is not None and told != known for known, told in written):
        return True
    images = set(NodeImage.objects.filter(node=node).values_list("os_image", flat=True))
    return report.images is not None and images != kept | set(report.os_images or ())
