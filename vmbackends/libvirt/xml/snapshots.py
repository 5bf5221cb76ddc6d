"""Snapshots: https://libvirt.org/formatsnapshot.html"""

from lxml.builder import E

from vmbackends.libvirt.xml.text import document, legal


def snapshot_xml(name: str, description: str) -> str:
    """An internal snapshot. `name` is libvirt's, unique in its domain; `description` is for people."""
    return document(E.domainsnapshot(E.name(name), E.description(legal(description))))
