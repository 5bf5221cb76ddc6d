"""What a guest boots with: firmware, machine, features, clock, power management.

https://libvirt.org/formatdomain.html#operating-system-booting
"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import ImageSpec


def _secure_boot(image: ImageSpec) -> bool:
    """Windows alone: a Linux with drivers of its own, as NVIDIA's, would not load them."""
    return image.firmware == "uefi" and image.windows


def operating_system(image: ImageSpec) -> "etree._Element":
    """BIOS, or the UEFI that the node's own firmware descriptions offer. Disks say themselves that they boot."""
    machine = E.type("hvm", arch="x86_64", machine="q35")
    if image.firmware != "uefi":
        return E.os(machine)
    enabled = "yes" if _secure_boot(image) else "no"
    features = [E.feature(enabled=enabled, name=name) for name in ("enrolled-keys", "secure-boot")]
    return E.os(machine, E.firmware(*features), firmware="efi")


def features(image: ImageSpec) -> "etree._Element":
    element = E.features(E.acpi(), E.apic())
    if image.windows:
        element.append(
            E.hyperv(E.relaxed(state="on"), E.vapic(state="on"), E.spinlocks(state="on", retries="8191"), mode="custom")
        )
    if _secure_boot(image):
        element.append(E.smm(state="on"))
    return element


def clock(image: ImageSpec) -> "etree._Element":
    """Windows keeps its hardware clock in local time."""
    if not image.windows:
        return E.clock(E.timer(name="hpet", present="no"), offset="utc")
    return E.clock(
        E.timer(name="rtc", tickpolicy="catchup"),
        E.timer(name="pit", tickpolicy="delay"),
        E.timer(name="hpet", present="no"),
        E.timer(name="hypervclock", present="yes"),
        offset="localtime",
    )


def power() -> Iterator["etree._Element"]:
    yield E.on_poweroff("destroy")
    yield E.on_reboot("restart")
    yield E.on_crash("destroy")
    # A guest that sleeps is neither on nor off, and nobody could wake it.
    yield E.pm(E("suspend-to-mem", enabled="no"), E("suspend-to-disk", enabled="no"))
