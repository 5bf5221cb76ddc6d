"""Volumes of a pool: https://libvirt.org/formatstorage.html#storage-volume-xml"""

from lxml import etree
from lxml.builder import E

from vmbackends.libvirt.xml.text import document


def clone_xml(name: str, capacity_bytes: int, backing_path: str) -> str:
    """A qcow2 volume that reads what it does not have from the qcow2 image at `backing_path`.

    The image's format is stated and never guessed: a guest could write another format's header into its own disk.
    """
    return document(
        E.volume(
            E.name(name),
            E.capacity(str(capacity_bytes), unit="bytes"),
            E.target(E.format(type="qcow2"), E.compat("1.1")),
            E.backingStore(E.path(backing_path), E.format(type="qcow2")),
        )
    )


def raw_xml(name: str, capacity_bytes: int) -> str:
    """A raw volume that takes no space yet."""
    return document(_raw(name, capacity_bytes, allocation_bytes=0))


def upload_xml(name: str, size_bytes: int) -> str:
    """A volume for a file of this size, whatever its format: what is uploaded is what the file then is.

    All of its space is taken at once, so that a full pool refuses before a byte is sent. A volume of the format qcow2
    would come with a header of its own, longer than a small upload.
    """
    return document(_raw(name, size_bytes, allocation_bytes=size_bytes))


def _raw(name: str, capacity_bytes: int, *, allocation_bytes: int) -> "etree._Element":
    return E.volume(
        E.name(name),
        E.capacity(str(capacity_bytes), unit="bytes"),
        E.allocation(str(allocation_bytes), unit="bytes"),
        E.target(E.format(type="raw")),
    )
