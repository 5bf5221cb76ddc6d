"""OS images in a node's pool: the bases of disks, which only a push writes and only an operator removes."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import libvirt

from vmbackends.base import ImageReport, ImageSpec, VmSpec
from vmbackends.errors import Refused
from vmbackends.libvirt import domains, volumes
from vmbackends.libvirt.errors import is_transport
from vmbackends.libvirt.handles import Connection, Pool, Volume
from vmbackends.libvirt.names import IMAGE_PREFIX, is_disk
from vmbackends.libvirt.xml.volumes import raw_xml

log = logging.getLogger(__name__)

_CHUNK = 4 * 1024 * 1024


def of(vm: VmSpec) -> ImageSpec:
    if vm.image is None:
        raise Refused(f"No image is kept for {vm.os_image}. Import one: manage.py images import {vm.os_image} FILE.")
    return vm.image


def volume_of(pool: Pool, vm: VmSpec) -> Volume:
    """The base of a VM's disk. Raises Refused where the node does not have it, or not whole: what is half sent may be
    broken off, and then goes."""
    image = of(vm)
    base = volumes.look_for(pool, image.volume)
    push_it = f"manage.py images push {vm.os_image} NODE"
    if base is None:
        raise Refused(f"The node does not have the image {vm.os_image}. Push it: {push_it}.")
    there = volumes.size(base)
    if image.size_bytes is not None and there != image.size_bytes:
        raise Refused(
            f"The node has {there} of {image.size_bytes} bytes of the image {vm.os_image}. If it is being sent there, "
            f"try again when it is; else push it again: {push_it}."
        )
    return base


def reports(pool: Pool) -> tuple[ImageReport, ...]:
    return tuple(
        ImageReport(volume.name(), volumes.size(volume))
        for volume in pool.listAllVolumes(0)
        if volume.name().startswith(IMAGE_PREFIX)
    )


def lost(pool: Pool) -> dict[str, int]:
    """Images that are gone from the pool, and of how many disks there they are the base."""
    there = {volume.name(): volume for volume in pool.listAllVolumes(0)}
    bases = [_image_if_told(volume) for name, volume in there.items() if is_disk(name)]
    return dict(Counter(base for base in bases if base is not None and base not in there))


def _image_if_told(disk: Volume) -> str | None:
    """A disk that cannot be looked at hides no other."""
    try:
        return volumes.image_of(disk)
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        log.warning("a disk cannot be looked at", extra={"volume": disk.name(), "reason": str(e)})
        return None


def push(connection: Connection, pool: Pool, image: ImageSpec, file: Path, progress: Callable[[int], None]) -> None:
    """Send the file, unless it is there whole. Its name says its content, so that none is ever written over.

    The volume begins empty and grows with what comes in: one that is as long as the file is whole, and one that is not
    is of a push that broke off. While another push is at it libvirt refuses to remove it. Raises Refused where one that
    is not whole is to be replaced, and a disk is a clone of it all the same.
    """
    length = file.stat().st_size
    there = volumes.look_for(pool, image.volume)
    if there is not None and volumes.size(there) == length:
        progress(length)
        return
    if there is not None:
        remove(connection, pool, image.volume)
    if not volumes.has_room(pool, length):
        raise Refused(f"The pool {pool.name()} has no room for the image, which needs {length / volumes.GIB:.1f} GB.")
    volume = pool.createXML(raw_xml(image.volume, capacity_bytes=0), 0)
    try:
        volumes.upload(connection, volume, _chunks(file), length, progress=progress)
        volumes.refresh(pool)  # libvirt learns that it is a qcow2 file, and its capacity
    except BaseException:
        _discard(connection, pool, volume)
        raise


def _discard(connection: Connection, pool: Pool, volume: Volume) -> None:
    """What this push has made, unless somebody was so quick as to need it. What went wrong is told, and not this."""
    try:
        _refuse_in_use(connection, pool, volume)
        volumes.remove(pool, volume.name())
    except (Refused, libvirt.libvirtError) as e:
        log.warning("half of an image is kept", extra={"volume": volume.name(), "reason": str(e)})


def remove(connection: Connection, pool: Pool, name: str) -> None:
    """Raises Refused while a disk is a clone of it, which would be lost without its base, and while a domain runs on
    it. libvirt itself would let it go."""
    if not name.startswith(IMAGE_PREFIX):
        raise Refused(f"{name} is no image.")
    _look_again(pool)
    base = volumes.find(pool, name)
    if base is not None:
        _refuse_in_use(connection, pool, base)
        volumes.remove(pool, name)


def _refuse_in_use(connection: Connection, pool: Pool, base: Volume) -> None:
    name = base.name()
    clones = list(_clones(connection, pool, base))
    if clones:
        raise Refused(f"{len(clones)} disks are clones of {name}, the first is {clones[0]}. Delete their VMs first.")
    if base.path() in domains.paths_in_use(connection):
        raise Refused(f"{name} is in use by a domain that runs. Power it off first.")


def _look_again(pool: Pool) -> None:
    """A clone that was made by hand is not on libvirt's list until it has looked."""
    try:
        volumes.look_into(pool)
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        raise Refused(
            f"Whether disks need it cannot be told: the pool {pool.name()} is busy or broken. Try again in a minute.",
            code=e.get_error_code(),
        ) from e


def _clones(connection: Connection, pool: Pool, base: Volume) -> Iterator[str]:
    """What is cloned from it, in any pool of the node that is started. Within its own a name alone is enough: a path
    can be written in many ways."""
    for other in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        is_own = other.UUIDString() == pool.UUIDString()
        for volume in other.listAllVolumes(0):
            path = volumes.base_of(volume)
            if path == base.path() or (is_own and path is not None and PurePosixPath(path).name == base.name()):
                yield volume.name()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
