"""Snapshots: https://libvirt.org/formatsnapshot.html"""

from lxml import etree
from lxml.builder import E, ElementMaker

from vmbackends.libvirt.names import RESTORE_NS
from vmbackends.libvirt.xml.text import document, legal

_RESTORE = ElementMaker(namespace=RESTORE_NS, nsmap={"restore": RESTORE_NS})


def snapshot_xml(name: str, description: str) -> str:
    """An internal snapshot. `name` is libvirt's, unique in its domain; `description` is for people."""
    return document(E.domainsnapshot(E.name(name), E.description(legal(description))))


def marked(xml: str, mark: str) -> str:
    """The snapshot with this mark, in place of an older one, in each definition of the domain that it holds."""
    root = etree.fromstring(xml)
    for domain in root.iterfind("*"):
        if domain.tag not in ("domain", "inactiveDomain"):
            continue
        metadata = domain.find("metadata")
        if metadata is None:
            metadata = etree.SubElement(domain, "metadata")
        for old in metadata.findall(f"{{{RESTORE_NS}}}mark"):
            metadata.remove(old)
        metadata.append(_RESTORE.mark(mark))
    return etree.tostring(root, encoding="unicode")


def mark_of(metadata: str) -> str | None:
    """What the element says that `marked` has put there."""
    return etree.fromstring(metadata).text
