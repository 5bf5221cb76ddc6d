"""Snapshots: https://libvirt.org/formatsnapshot.html"""

from datetime import datetime

from lxml import etree
from lxml.builder import E, ElementMaker

from vmbackends.libvirt.names import RESTORE_NS
from vmbackends.libvirt.xml.text import document, legal

_RESTORE = ElementMaker(namespace=RESTORE_NS, nsmap={"restore": RESTORE_NS})


def snapshot_xml(name: str, description: str) -> str:
    """An internal snapshot. `name` is libvirt's, unique in its domain; `description` is for people."""
    return document(E.domainsnapshot(E.name(name), E.description(legal(description))))


def lost_snapshot_xml(name: str, description: str, definition: str, *, with_memory: bool, created_at: datetime) -> str:
    """One that is on the disk and that libvirt forgot, as it takes it back: of the domain as it is defined now."""
    return document(
        E.domainsnapshot(
            E.name(name),
            E.description(legal(description)),
            E.state("running" if with_memory else "shutoff"),
            E.creationTime(str(int(created_at.timestamp()))),
            E.memory(snapshot="internal" if with_memory else "no"),
            etree.fromstring(definition),
        )
    )


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
