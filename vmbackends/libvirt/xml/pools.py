"""Storage pools: https://libvirt.org/formatstorage.html"""

from lxml.builder import E

from vmbackends.libvirt.xml.text import document


def dir_pool_xml(name: str, path: str) -> str:
    """A pool that is a folder of the node."""
    return document(E.pool(E.name(name), E.target(E.path(path)), type="dir"))
