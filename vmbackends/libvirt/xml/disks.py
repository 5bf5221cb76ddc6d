"""Disk, seed and their controllers: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import ImageSpec
from vmbackends.libvirt.xml.placement import Placement


def disks(image: ImageSpec, place: Placement) -> Iterator["etree._Element"]:
    """The controller of the seed is there with and without a seed: what follows it keeps its PCI address, and with it
    its name in the guest."""
    sata = image.device_model == "sata"
    yield _disk(place.disk_path, name="sda" if sata else "vda", bus="sata" if sata else "virtio")
    if place.seed_path is not None:
        # The kernels that Debian and others build for clouds have no driver for AHCI.
        yield _seed(place.seed_path, name="sdb" if sata else "sda", bus="sata" if sata else "scsi")
    if not sata:
        yield E.controller(type="scsi", index="0", model="virtio-scsi")


def _disk(path: str, *, name: str, bus: str) -> "etree._Element":
    return E.disk(
        E.driver(name="qemu", type="qcow2", discard="unmap"),
        E.source(file=path),
        E.target(dev=name, bus=bus),
        E.boot(order="1"),
        type="file",
        device="disk",
    )


def _seed(path: str, *, name: str, bus: str) -> "etree._Element":
    return E.disk(
        E.driver(name="qemu", type="raw"),
        E.source(file=path),
        E.target(dev=name, bus=bus),
        E.readonly(),
        type="file",
        device="cdrom",
    )
