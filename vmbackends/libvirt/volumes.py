"""Volumes in a node's storage pool: disks, seeds, consoles and images.

A pool's own list of its volumes is asked: whatever is ours was made through libvirt and is on it. A refresh, which
opens every file, is for what others do there. https://libvirt.org/html/libvirt-libvirt-storage.html
"""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

import libvirt
from lxml import etree

from vmbackends.base import VmSpec
from vmbackends.errors import Refused, Untouched
from vmbackends.libvirt.errors import is_missing, is_transport
from vmbackends.libvirt.handles import Connection, Pool, Stream, Volume
from vmbackends.libvirt.names import IMAGE_PREFIX, disk_volume
from vmbackends.libvirt.xml.volumes import clone_xml, raw_xml, upload_xml

log = logging.getLogger(__name__)

GIB = 1024**3
_CHUNK = 256 * 1024
_LOOKS, _LOOK_AGAIN_S = 5, 0.1


def open_pool(connection: Connection, name: str) -> Pool:
    """The pool, started if it was not. Raises Refused where the node has none of this name."""
    try:
        pool = connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as e:
        if is_missing(e):
            raise Refused(
                f"The node has no storage pool {name}. Define it there, or name another in the node's settings.",
                code=e.get_error_code(),
            ) from e
        raise
    if not pool.isActive():
        try:
            pool.create(0)
        except libvirt.libvirtError:
            if not pool.isActive():  # else another was quicker
                raise
    return pool


def find(pool: Pool, name: str) -> Volume | None:
    """None also where its file was removed by hand: libvirt has that on its list until it looks again."""
    try:
        volume = pool.storageVolLookupByName(name)
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise
    try:
        volume.info()
    except libvirt.libvirtError as e:
        if not is_missing(e):
            raise
        refresh(pool)
        return None
    return volume


def look_for(pool: Pool, name: str) -> Volume | None:
    """As `find`, and also where its file was put there by hand."""
    volume = find(pool, name)
    if volume is None and refresh(pool):
        volume = find(pool, name)
    return volume


def disk_of(pool: Pool, vm: VmSpec) -> Volume:
    """The disk of a VM that was deployed. Raises Untouched where it, or the image that it is a clone of, is gone."""
    disk = look_for(pool, disk_volume(vm.id))
    if disk is None:
        raise Untouched(f"The disk of {vm.name} is gone from its node. Ask an operator to put it back.")
    image = image_of(disk)
    if image is not None and look_for(pool, image) is None:
        raise Untouched(
            f"The image {image}, of which the disk of {vm.name} is a clone, is gone from its node. Ask an operator "
            "to put it back."
        )
    return disk


def base_of(volume: Volume) -> str | None:
    """The path of what it is a clone of."""
    return _paths(volume)[1]


def image_of(disk: Volume) -> str | None:
    """The image beside it that it is a clone of."""
    path, base_path = (PurePosixPath(path or "") for path in _paths(disk))
    is_image = base_path.name.startswith(IMAGE_PREFIX) and base_path.parent == path.parent
    return base_path.name if is_image else None


def _paths(volume: Volume) -> tuple[str | None, str | None]:
    """Its own and its base's."""
    try:
        description = etree.fromstring(volume.XMLDesc(0))
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None, None
        raise
    return description.findtext("target/path"), description.findtext("backingStore/path")


def path_in(pool: Pool, name: str) -> str:
    """Where a volume of this name lies or will lie, on the node."""
    return str(PurePosixPath(target_path(pool)) / name)


def target_path(pool: Pool) -> str:
    path = etree.fromstring(pool.XMLDesc(0)).findtext("target/path")
    if not path:
        raise Refused(f"The storage pool {pool.name()} is no directory; AIWM needs a pool of type dir, fs or netfs.")
    return str(path)


def free_bytes(pool: Pool) -> int:
    """As libvirt last knew: what others write and remove there it learns when it looks again."""
    return int(pool.info()[3])


def has_room(pool: Pool, wanted_bytes: int) -> bool:
    """Nothing is refused for what libvirt knew before somebody made room."""
    if free_bytes(pool) < wanted_bytes:
        refresh(pool)
    return free_bytes(pool) >= wanted_bytes


def clone(pool: Pool, name: str, base: Volume, disk_gb: int) -> Volume:
    """A qcow2 volume that begins as `base` and keeps its own changes. Raises Refused where it has no room.

    The clone is named its base's whole path and format: QEMU must never guess either.
    """
    capacity = disk_gb * GIB
    smallest = int(base.info()[1])
    if smallest > capacity:
        raise Refused(f"The image needs a disk of {-(-smallest // GIB)} GB, and {disk_gb} GB were asked for.")
    if not has_room(pool, capacity):
        raise Refused(
            f"The pool {pool.name()} has {free_bytes(pool) // GIB} GB free, and the disk may grow to {disk_gb} GB. "
            "Free space there, or use a smaller disk."
        )
    return pool.createXML(clone_xml(name, capacity_bytes=capacity, backing_path=base.path()), 0)


def grow(volume: Volume, disk_gb: int) -> None:
    """Make it at least so large. Never shrinks."""
    if int(volume.info()[1]) < disk_gb * GIB:
        volume.resize(disk_gb * GIB, 0)


def ensure_raw(pool: Pool, name: str) -> Volume:
    """A raw volume, empty if it is new."""
    return find(pool, name) or pool.createXML(raw_xml(name, capacity_bytes=0), 0)


def remove(pool: Pool, name: str) -> None:
    volume = find(pool, name)
    if volume is not None:
        try:
            volume.delete(0)
        except libvirt.libvirtError as e:
            if not is_missing(e):
                raise


def refresh(pool: Pool) -> bool:
    """Have libvirt look at the files themselves. False where it does not: while a volume is made there, it refuses."""
    try:
        look_into(pool)
        return True
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        log.info("a pool could not be refreshed, as while a volume is made there", extra={"reason": str(e)})
        return False


def look_into(pool: Pool) -> None:
    """Refresh it. Most volumes are made in moments, after which it is tried again. Raises libvirtError."""
    for _ in range(_LOOKS - 1):
        try:
            pool.refresh(0)
        except libvirt.libvirtError as e:
            if is_transport(e):
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return
    pool.refresh(0)


def remove_all(pool: Pool, prefix: str) -> bool:
    """Remove whatever begins so: what libvirt made, and what only a refresh sees, as a console's older parts. False
    where there was none, so that of the latter some may be left."""
    refreshed = refresh(pool)
    for volume in pool.listAllVolumes(0):
        if volume.name().startswith(prefix):
            remove(pool, volume.name())
    return refreshed


def is_file(pool: Pool, name: str) -> bool:
    """Whether a file of this name is there, also where libvirt knows of no such volume: it makes none over it."""
    try:
        pool.createXML(raw_xml(name, capacity_bytes=0), 0).delete(0)
    except libvirt.libvirtError as e:
        if e.get_error_code() not in (libvirt.VIR_ERR_STORAGE_VOL_EXIST, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
        return True
    return False


def write(connection: Connection, pool: Pool, name: str, content: bytes) -> None:
    """A raw volume with this content, over one that is there."""
    remove(pool, name)
    volume = pool.createXML(upload_xml(name, size_bytes=len(content)), 0)
    try:
        upload(connection, volume, [content], len(content))
    except BaseException:
        # Half of a file must not be taken for a whole one by whoever comes next. Why it came to that is what is told.
        try:
            remove(pool, name)
        except libvirt.libvirtError as e:
            log.warning("half of a file is kept", extra={"volume": name, "reason": str(e)})
        raise


def append(connection: Connection, volume: Volume, content: bytes) -> None:
    """Write behind what is there."""
    upload(connection, volume, [content], len(content), offset=size(volume))


def size(volume: Volume) -> int:
    """Of its file now, in bytes."""
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def upload(
    connection: Connection, volume: Volume, chunks: Iterable[bytes], length: int, offset: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:  # fmt: skip
    """Send so many bytes into it. `progress` is told after each chunk how many have been sent."""
    stream = connection.newStream(0)
    try:
        volume.upload(stream, offset, length, 0)
        sent = 0
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                taken = stream.send(bytes(view[:_CHUNK]))
                view = view[taken:]
                sent += taken
                if progress is not None:
                    progress(sent)
        stream.finish()
    except BaseException:
        _abort(stream)
        raise


def download(connection: Connection, volume: Volume, offset: int = 0, most: int | None = None) -> bytes:
    """Its content from `offset` on, at most so many bytes."""
    stream = connection.newStream(0)
    parts: list[bytes] = []
    got = 0
    try:
        volume.download(stream, offset, most or 0, 0)
        while part := stream.recv(_CHUNK):
            parts.append(part)
            got += len(part)
            if most is not None and got >= most:
                break
        stream.finish()
    except BaseException:
        _abort(stream)
        raise
    return b"".join(parts)[:most]


def _abort(stream: Stream) -> None:
    try:
        stream.abort()
    except libvirt.libvirtError:
        return  # it has ended by itself; the error that brought us here is the one to tell
