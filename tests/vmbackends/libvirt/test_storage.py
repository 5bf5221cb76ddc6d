"""Pools, volumes and disks, where a node does what real ones do seldom. What they do else is in tests/hypervisor."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

import struct

import pytest
from lxml import etree
from lxml.builder import E

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from vmbackends.libvirt import domains, qcow2, volumes

POOL = "default-pool"
SEED = "/pool/seed.iso"


@pytest.fixture
def connection():
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


class StoppedPool:
    """One that somebody else starts as soon as it was seen to be off, or that cannot be started."""

    def __init__(self, started):
        self.answers = [False, started]

    def storagePoolLookupByName(self, name):
        return self

    def isActive(self):
        return self.answers.pop(0)

    def create(self, flags):
        raise libvirt.libvirtError("pool is already active")


def test_a_pool_that_another_starts_first_is_open():
    pool = StoppedPool(started=True)
    assert volumes.open_pool(pool, "aiwm") is pool


def test_a_pool_that_cannot_be_started_is_an_error():
    with pytest.raises(libvirt.libvirtError):
        volumes.open_pool(StoppedPool(started=False), "aiwm")


def test_a_disk_that_is_named_as_a_volume_is_in_use(connection):
    pool = connection.storagePoolLookupByName(POOL)
    volume = E.volume(E.name("base.qcow2"), E.capacity("1"))
    path = pool.createXML(etree.tostring(volume, encoding="unicode"), 0).path()
    disks = [
        E.disk(E.source(pool=POOL, volume=name), E.target(dev=dev, bus="virtio"), type="volume", device="disk")
        for name, dev in (("base.qcow2", "vda"), ("gone.qcow2", "vdb"))
    ]
    domain = E.domain(
        E.name("theirs"), E.memory("1", unit="MiB"), E.os(E.type("hvm", arch="x86_64")), E.devices(*disks), type="test"
    )
    connection.createXML(etree.tostring(domain, encoding="unicode"), 0)

    assert path in domains.paths_in_use(connection)


class Guest:
    """One with a seed in its drive, which goes off when that is to be taken out."""

    def __init__(self, *, goes_off):
        self.active, self.goes_off, self.ejected = True, goes_off, []

    def isActive(self):
        return self.active

    def XMLDesc(self, flags):
        return f"<domain><devices><disk device='cdrom'><source file='{SEED}'/></disk></devices></domain>"

    def updateDeviceFlags(self, xml, flags):
        if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
            self.active = not self.goes_off
            raise libvirt.libvirtError("domain is not running")
        self.ejected.append(xml)


def test_a_seed_is_ejected_from_the_definition_of_a_guest_that_goes_off_meanwhile():
    guest = Guest(goes_off=True)
    domains.eject_seed(guest, SEED)
    assert guest.ejected == ['<disk device="cdrom"/>']


def test_a_seed_that_cannot_be_ejected_from_a_guest_that_runs_is_an_error():
    with pytest.raises(libvirt.libvirtError):
        domains.eject_seed(Guest(goes_off=False), SEED)


@pytest.mark.parametrize("table", [b"", b"x" * 41, struct.pack(">QIHHIIQII", 0, 0, 0, 0, 0, 0, 0, 0, 8) + b"x" * 4])
def test_a_table_of_snapshots_that_is_not_whole_is_not_read(table):
    header = b"QFI\xfb" + bytes(56) + struct.pack(">IQ", 1, 72)
    with pytest.raises(ValueError, match="cut short"):
        qcow2.snapshot_sizes(lambda offset, length: (header + table)[offset : offset + length])
