"""How one reaches a guest: serial console, screen, agent.

https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices
"""

from collections.abc import Iterator

from lxml import etree
from lxml.builder import E

from vmbackends.base import ImageSpec


def consoles(image: ImageSpec, log_path: str) -> Iterator["etree._Element"]:
    yield E.serial(E.log(file=log_path, append="on"), E.target(type="isa-serial", port="0"), type="pty")
    yield E.console(E.target(type="serial", port="0"), type="pty")
    yield E.channel(E.target(type="virtio", name="org.qemu.guest_agent.0"), type="unix")
    # A socket in the domain's own folder: nobody else on the network or the node can connect.
    yield E.graphics(E.listen(type="socket"), type="vnc")
    yield E.video(E.model(type="vga"))
    yield from _usb(image)


def _usb(image: ImageSpec) -> Iterator["etree._Element"]:
    """Windows is worked by its screen, where only a tablet's pointer is at the same place on both sides."""
    if image.windows:
        yield E.controller(type="usb", index="0", model="qemu-xhci")
        yield E.input(type="tablet", bus="usb")
    else:
        yield E.controller(type="usb", index="0", model="none")
