"""What a node lacks before VMs can be put on it, in the order in which it is to be mended."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q

from accounts.actors import Actor
from common.errors import Conflict, NodeUnavailable, Unsupported
from nodes.images import kept_among, os_image_of
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
    for other in Node.objects.filter(boot_id=report.boot_id).exclude(Q(pk=node.pk) | Q(boot_id="")):
        yield Lack(
            f"It runs on the same machine as {other.name}, which counts what that has as well.",
            "If both are one hypervisor, put one in maintenance, and delete it when its VMs are gone.",
        )
    kept = kept_among(report.images or ())
    not_as_kept = _not_as_kept(report, kept)
    for os_image in not_as_kept:
        yield Lack(
            f"Its file of {os_image} is not the one that is kept: an older one, or one that is half sent.",
            f"manage.py images push {os_image} {node.name}",
        )
    if report.images and not kept and not not_as_kept:
        yield Lack("None of its images is one that is kept here.", f"manage.py images push NAME {node.name}")
    yield from _wanted_by_images(report, kept)
    if not Worker.objects.alive().exists():
        yield Lack("No worker lives, so that nothing is done on any node.", "manage.py worker")
    if news := list(_news(node, report, kept)):
        yield Lack(f"What it has is not written down: {'; '.join(news)}.", f"manage.py nodes refresh {node.name}")
    if node.strays.get("diskless"):
        yield Lack(
            "Disks of VMs are gone from its pool: see the notes.",
            "Mount what the pool is on, if that is it; put the disks back from a backup, or delete the VMs.",
        )
    if node.to_compare:
        yield Lack(
            "What domains are on it has not been looked at yet: it takes no new VMs.",
            "A worker does that within a minute; see then what is told of them here.",
        )
    if not node.enabled:
        yield Lack("It is in maintenance: it takes no new VMs.", "End its maintenance in the admin.")


def _not_as_kept(report: NodeReport, kept: set[str]) -> list[str]:
    """The kept images of which the node has some file, and not that one whole."""
    names = Image.objects.exclude(os_image__in=kept).order_by("os_image").values_list("os_image", flat=True)
    there = {os_image_of(image.volume) for image in report.images or ()}
    return [name for name in names if name in there]


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


def _news(node: Node, report: NodeReport, kept: set[str]) -> Iterator[str]:
    """What it says of itself, where something else is written down."""
    written = (
        ("vCPUs", node.cap_vcpus, report.vcpus),
        ("MB of RAM", node.cap_ram_mb, report.ram_mb),
        ("GB of disk", node.cap_disk_gb, report.disk_gb),
        ("domain type", node.probed_domain_type, report.domain_type),
        ("CPU mode", node.probed_cpu_mode, report.cpu_mode),
        ("capabilities", node.capabilities, None if report.capabilities is None else list(report.capabilities)),
        ("images", _images_of(node), None if report.images is None else sorted(kept | set(report.os_images or ()))),
    )
    for what, known, told in written:
        if told is not None and told != known:
            yield f"{what} {_words(told)} (written: {_words(known)})"


def _images_of(node: Node) -> list[str]:
    return sorted(NodeImage.objects.filter(node=node).values_list("os_image", flat=True))


def _words(value: int | str | list[str] | None) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value or "none")
