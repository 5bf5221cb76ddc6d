"""Which boot of a node this is: its kernel's own id of it, read over libvirt like any volume.

libvirt tells neither a boot id nor an uptime. A pool over the kernel's folder of random numbers does: nothing is stored
there, and a transient pool is gone when libvirtd ends. https://man7.org/linux/man-pages/man4/random.4.html
"""

import libvirt

from vmbackends.errors import Refused
from vmbackends.libvirt.errors import is_missing
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.volumes import download, find
from vmbackends.libvirt.xml.pools import dir_pool_xml

_POOL = "aiwm-boot-id"
_FOLDER = "/proc/sys/kernel/random"
_LENGTH = 36


def boot_id(connection: Connection) -> str:
    volume = find(_pool(connection), "boot_id")
    text = "" if volume is None else download(connection, volume, most=_LENGTH + 1).decode(errors="replace").strip()
    if len(text) != _LENGTH:
        raise Refused(f"The node's boot id cannot be read at {_FOLDER}/boot_id. AIWM needs nodes that run Linux.")
    return text


def _pool(connection: Connection) -> Pool:
    try:
        return connection.storagePoolLookupByName(_POOL)
    except libvirt.libvirtError as e:
        if not is_missing(e):
            raise
    try:
        return connection.storagePoolCreateXML(dir_pool_xml(_POOL, _FOLDER), 0)
    except libvirt.libvirtError:
        return connection.storagePoolLookupByName(_POOL)  # another was quicker, or this tells what is wrong
