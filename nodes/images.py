"""OS images that operators keep, as backends take them."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from nodes.models import Image
from vmbackends.base import ImageReport, ImageSpec

_VOLUME = re.compile(r"image-(.+)-[0-9a-f]{12}\.qcow2")


@dataclass
class Use:
    """What the app of VMs, which is above this one, knows of images. It says so in its `ready()`."""

    names: tuple[str, ...] = ()  # those that a VM may be made of
    largest_disk_gb: int = 0  # that a VM can have
    deployed: Callable[[str], int] = lambda _: 0  # how many VMs of one stand on nodes


use = Use()


def volume_of(os_image: str, sha256: str) -> str:
    """The name of an image's file, here and on nodes."""
    return f"image-{os_image}-{sha256[:12]}.qcow2"


def os_image_of(volume: str) -> str | None:
    """The image whose file has such a name, this one or an older one."""
    match = _VOLUME.fullmatch(volume)
    return match[1] if match else None


def image_spec(image: Image) -> ImageSpec:
    return ImageSpec(
        volume=image.volume,
        firmware=image.firmware,
        device_model=image.device_model,
        tpm=image.tpm,
        windows=image.os_image.startswith("windows-"),
        ready=image.ready,
        size_bytes=image.size_bytes,
    )


def image_specs(os_images: Collection[str]) -> dict[str, ImageSpec]:
    """Those of these that are kept, by name: one query."""
    return {image.os_image: image_spec(image) for image in Image.objects.filter(os_image__in=set(os_images)).order_by()}


def unkept_among(volumes: Collection[str]) -> list[str]:
    """Those of these names of images that no kept one has: it was imported anew since, or removed."""
    kept = Image.objects.filter(volume__in=volumes).values_list("volume", flat=True) if volumes else ()
    return sorted(set(volumes) - set(kept))


def kept_among(reports: Collection[ImageReport]) -> set[str]:
    """The names of the kept images that are among a node's volumes. One of another length is only half sent, or is
    somebody else's."""
    found = {(report.volume, report.size_bytes) for report in reports}
    kept = Image.objects.filter(volume__in={volume for volume, _ in found}).order_by()
    return {image.os_image for image in kept if (image.volume, image.size_bytes) in found}
