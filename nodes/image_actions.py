"""The one home of each change of an OS image. Operators alone may, from the machine on which the files are kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accounts import audit
from accounts.actors import Actor
from common.db import atomic
from common.errors import Conflict, NodeUnavailable, NotFound, Unsupported, ValidationFailed
from nodes import image_files
from nodes.image_files import ImageFile
from nodes.images import image_spec, unkept_among, use, volume_of
from nodes.models import DeviceModel, Image, Node, NodeImage, Ready
from nodes.queries import node_ref
from tasks.models import Task, TaskStatus
from vmbackends import get_backend
from vmbackends.errors import NodeUnreachable, NotSupported, Refused

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Wants:
    """How the guests of an image want to be run. None is as it is, and of a new image what is usual."""

    firmware: str | None = None
    device_model: str | None = None
    tpm: bool | None = None
    ready: str | None = None


# What a guest that was installed one way does not bear to have changed.
_FIXED = ("firmware", "device_model", "tpm")


def import_image(
    actor: Actor, os_image: str, source: Path, wants: Wants, file_format: str, sha256: str | None, progress: Progress
) -> Image:
    """Keep this file as the image of that name, in place of the one that there was.

    Raises Forbidden, ValidationFailed, Conflict where VMs would be run in another way than they were installed, and
    Unsupported for a file that is none to be kept.
    """
    actor.require_operator()
    if os_image not in use.names:
        raise ValidationFailed.of("NAME", f"There is no OS image {os_image!r}. There are: {', '.join(use.names)}.")
    _columns(os_image, wants, Image.objects.filter(os_image=os_image).first())  # before the long part
    with image_files.taken_in(source, file_format, sha256, progress) as file:
        if file.virtual_bytes > use.largest_disk_gb * 1024**3:
            raise Unsupported(
                f"The disk in {source.name} has {file.virtual_bytes / 1024**3:,.0f} GB, and that of a VM at most "
                f"{use.largest_disk_gb:,}. Shrink it, with its file system first."
            )
        volume = volume_of(os_image, file.sha256)
        path = image_files.path_of(volume)
        file.path.replace(path)  # its name says its content
        try:
            image, older = _keep(actor, os_image, volume, file, wants)
        except BaseException:
            _drop_file(volume)
            raise
    if older:
        _drop_file(older)
    return image


@atomic
def _keep(actor: Actor, os_image: str, volume: str, file: ImageFile, wants: Wants) -> tuple[Image, str]:
    """The image, and the volume that it had before, or nothing."""
    image = Image.objects.filter(os_image=os_image).first()
    before = summary(image) if image else None
    older = image.volume if image else ""
    columns = {
        **_columns(os_image, wants, image),
        "volume": volume,
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        "virtual_bytes": file.virtual_bytes,
    }
    image, _ = Image.objects.update_or_create(os_image=os_image, defaults=columns)
    if older and older != volume:
        NodeImage.objects.filter(os_image=os_image).delete()  # until the new one is sent to them
    _record(actor, "image.import", image, before, summary(image))
    return image, older


def _columns(os_image: str, wants: Wants, image: Image | None) -> dict[str, Any]:
    """Raises Conflict for a change that VMs would not bear."""
    wanted = {name: value for name, value in asdict(wants).items() if value is not None}
    if image is None:
        windows = os_image.startswith("windows-")  # which brings no virtio drivers and no cloud-init of its own
        usual = {
            "device_model": DeviceModel.SATA if windows else DeviceModel.VIRTIO,
            "ready": Ready.POWER if windows else Ready.CLOUD_INIT,
        }
        return {**usual, **wanted}
    changed = [name for name in _FIXED if wanted.get(name, getattr(image, name)) != getattr(image, name)]
    deployed = use.deployed(os_image) if changed else 0
    if deployed:
        names = " and ".join(name.replace("_", " ") for name in changed)
        raise Conflict(f"The {names} of {os_image} cannot be changed: {deployed} deployed VMs were installed with it.")
    return wanted


def push(actor: Actor, os_image: str, node: Node, progress: Progress) -> Image:
    """Send the image to a node, unless it is there. Raises Forbidden, NotFound, Conflict, NodeUnavailable, and
    Unsupported where the file cannot be read or the node will not take it."""
    actor.require_operator()
    image = find_image(os_image)
    path = image_files.path_of(image.volume)
    if node.lost:
        raise Conflict(f"{node.name} is marked lost and is left alone.")
    if not image_files.is_whole(path, image.size_bytes):
        raise Conflict(f"{path} is gone or was changed. Import {os_image} again.")
    with _node_asked():
        get_backend().push_image(node_ref(node), image_spec(image), path, progress)
    _note(actor, image, node)
    return image


@atomic
def _note(actor: Actor, image: Image, node: Node) -> None:
    if not Image.objects.filter(pk=image.pk, volume=image.volume).exists():
        raise Conflict(f"{image.os_image} was imported anew or removed meanwhile. Push it again.")
    NodeImage.objects.get_or_create(node=node, os_image=image.os_image)
    _record(actor, "image.push", image, None, {**summary(image), "node": node.name})


@dataclass(frozen=True)
class Pruned:
    removed: tuple[str, ...]
    refused: tuple[str, ...]  # why, of each that is still needed


def prune(actor: Actor, node: Node) -> Pruned:
    """Remove from a node the images that are not kept any more, and that no disk there is a clone of. Raises Forbidden,
    Conflict, NodeUnavailable and Unsupported."""
    actor.require_operator()
    if node.lost:
        raise Conflict(f"{node.name} is marked lost and is left alone.")
    with _node_asked():
        seen = get_backend().observe(node_ref(node), [])
    volumes = unkept_among(seen.images)
    # In this order: whatever a worker begins or takes up again after this question makes disks of what is kept now.
    if volumes:
        _refuse_at_work(node)
    removed, refused = [], []
    for volume in volumes:
        try:
            with _node_asked():
                get_backend().remove_image(node_ref(node), volume)
        except Unsupported as e:
            refused.append(e.message)
        else:
            _note_pruned(actor, node, volume)
            removed.append(volume)
    return Pruned(tuple(removed), tuple(refused))


@atomic
def _note_pruned(actor: Actor, node: Node, volume: str) -> None:
    before = {"volume": volume, "node": node.name}
    audit.record(
        actor, "image.prune", object_type="node", object_id=node.id, org_id=None, before=before, after=None
    )  # fmt: skip
    # The next look would tell as much; until then nobody shall be told to remove it.
    strays = dict(Node.objects.values_list("strays", flat=True).get(pk=node.pk))
    strays["images"] = [name for name in strays.get("images", ()) if name != volume]
    Node.objects.filter(pk=node.pk).update(strays={kind: found for kind, found in strays.items() if found})


def remove(actor: Actor, os_image: str) -> None:
    """Remove the image from every node that has it, and then its file. Raises Forbidden, NotFound, Conflict while VMs
    of it are deployed or a task is at work on a node, and NodeUnavailable or Unsupported for the first node that keeps
    it."""
    actor.require_operator()
    image = find_image(os_image)
    _refuse_in_use(os_image)
    for node in Node.objects.filter(images__os_image=os_image, lost=False):
        # In this order: a task that ended before the first question has left its VM deployed, or nothing. And before
        # each node: the others took their time, in which a VM that was queued may have been started.
        _refuse_at_work(node)
        _refuse_in_use(os_image)
        with _node_asked():
            if _removed(node, image):
                _note_gone(actor, image, node)
    _forget(actor, image)
    try:
        _drop_file(image.volume)
    except OSError as e:
        raise Unsupported(
            f"{os_image} is removed, but for its file: {e.filename}: {e.strerror}. Remove that by hand."
        ) from e


def _removed(node: Node, image: Image) -> bool:
    try:
        get_backend().remove_image(node_ref(node), image.volume)
    except NotSupported:
        return False  # the backend keeps none: that the node has the image is somebody's word, and stays
    return True


@atomic
def _note_gone(actor: Actor, image: Image, node: Node) -> None:
    NodeImage.objects.filter(node=node, os_image=image.os_image).delete()
    _record(actor, "image.withdraw", image, {**summary(image), "node": node.name}, None)


@atomic
def _forget(actor: Actor, image: Image) -> None:
    _refuse_in_use(image.os_image)
    _record(actor, "image.remove", image, summary(image), None)
    Image.objects.filter(pk=image.pk, volume=image.volume).delete()


def find_image(os_image: str) -> Image:
    image = Image.objects.filter(os_image=os_image).first()
    if image is None:
        raise NotFound(f"No image is kept for {os_image!r}. See: manage.py images list.")
    return image


def summary(image: Image) -> dict[str, Any]:
    names = ("os_image", "volume", "sha256", "size_bytes", "virtual_bytes", *_FIXED, "ready")
    return {name: getattr(image, name) for name in names}


def _refuse_in_use(os_image: str) -> None:
    deployed = use.deployed(os_image)
    if deployed:
        raise Conflict(f"{deployed} deployed VMs are made of {os_image}. Delete them first.")


def _refuse_at_work(node: Node) -> None:
    if Task.objects.filter(node_id=node.id, status=TaskStatus.RUNNING, lease_until__isnull=False).exists():
        raise Conflict(f"A task is at work on {node.name} and may just make a disk. Try again in a minute.")


def _drop_file(volume: str) -> None:
    """Unless an image has it, maybe of an import at the same time."""
    if not Image.objects.filter(volume=volume).exists():
        image_files.path_of(volume).unlink(missing_ok=True)


@contextmanager
def _node_asked() -> Iterator[None]:
    """Around a call of the node: its faults as the product's."""
    try:
        yield
    except NodeUnreachable as e:
        raise NodeUnavailable(e.message) from e
    except Refused as e:
        raise Unsupported(e.message) from e


def _record(actor: Actor, action: str, image: Image, before: dict[str, Any] | None, after: Any) -> None:
    audit.record(actor, action, object_type="image", object_id=image.id, org_id=None, before=before, after=after)
