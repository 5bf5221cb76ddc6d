"""A VM as libvirt is told of it: https://libvirt.org/formatdomain.html"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import ImageSpec, VmSpec
from vmbackends.libvirt.xml import consoles, cpu, disks, firmware, hostdevs, interfaces, metadata
from vmbackends.libvirt.xml.placement import Placement
from vmbackends.libvirt.xml.text import document

__all__ = ["Placement", "domain_xml"]

# How old a guest's memory statistics may be, in seconds.
_BALLOON_PERIOD_S = 5


def domain_xml(vm: VmSpec, image: ImageSpec, place: Placement) -> str:
    """The same text for the same VM at the same place. Raises Refused for what a node's settings cannot give it, and
    NotSupported for a MIG instance."""
    return document(
        E.domain(
            *metadata.identity(vm),
            E.memory(str(vm.ram_mb), unit="MiB"),
            E.vcpu(str(vm.vcpus)),
            firmware.operating_system(image),
            firmware.features(image),
            cpu.cpu(place.cpu_mode, vm.vcpus),
            firmware.clock(image),
            *firmware.power(),
            E.devices(*_devices(vm, image, place)),
            type=place.domain_type,
        )
    )


def _devices(vm: VmSpec, image: ImageSpec, place: Placement) -> Iterator["etree._Element"]:
    yield from disks.disks(image, place)
    yield interfaces.interface(vm.network, image, place)
    yield from consoles.consoles(image, place.console_path)
    yield from hostdevs.hostdevs(vm)
    if image.tpm:
        yield E.tpm(E.backend(type="emulator", version="2.0"), model="tpm-crb")
    yield E.memballoon(E.stats(period=str(_BALLOON_PERIOD_S)), model="virtio")
    yield E.rng(E.backend("/dev/urandom", model="random"), model="virtio")
