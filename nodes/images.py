"""OS images that operators keep, as backends take them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from nodes.models import Image, NodeImage
from vmbackends.base import ImageReport, ImageSpec

# What a create must know of an image.
_COLUMNS = ("os_image", "volume", "virtual_bytes", "firmware", "device_model", "tpm", "ready")


@dataclass
class Use:
    """What the app of VMs, which is above this one, knows of images. It says so in its `ready()`."""

    names: tuple[str, ...] = ()  # those that a VM may be made of
    deployed: Callable[[str], int] = lambda _: 0  # how many VMs of one stand on nodes


use = Use()


def image_spec(image: Image) -> ImageSpec:
    return ImageSpec(
        volume=image.volume,
        firmware=image.firmware,
        device_model=image.device_model,
        tpm=bool(image.tpm),  # a number where SQLite wrote the JSON
        windows=image.os_image.startswith("windows-"),
        ready=image.ready,
    )


def image_specs(os_images: Collection[str]) -> dict[str, ImageSpec]:
    """Those of these that are kept, by name: one query."""
    return {image.os_image: image_spec(image) for image in Image.objects.filter(os_image__in=set(os_images)).order_by()}


def kept_among(reports: Collection[ImageReport]) -> set[str]:
    """The names of the kept images that are among a node's volumes. One of another length is only half sent, or is
    somebody else's."""
    found = {(report.volume, report.size_bytes) for report in reports}
    kept = Image.objects.filter(volume__in={volume for volume, _ in found}).order_by()
    return {image.os_image for image in kept if (image.volume, image.size_bytes) in found}


def with_kept(images: QuerySet[NodeImage]) -> QuerySet[Any]:
    """Rows that `kept_of` takes. What is kept comes as one column of JSON: there is no foreign key to join by, since a
    node may well have an image that is not kept."""
    columns: dict[str, Any] = {name: name for name in _COLUMNS}
    kept = Image.objects.filter(os_image=OuterRef("os_image")).order_by().values(document=JSONObject(**columns))
    return images.annotate(kept=Subquery(kept))


def kept_of(row: Any) -> Image | None:
    """The kept image, with no more than a create must know, or None."""
    return None if row.kept is None else Image(**row.kept)
