"""A domain that is only tried: does a guest of this kind come up? https://libvirt.org/formatdomain.html"""

from lxml.builder import E

from vmbackends.libvirt.xml import cpu
from vmbackends.libvirt.xml.text import document

_RAM_MB = 512


def trial_xml(name: str, domain_type: str, cpu_mode: str, disk_path: str | None) -> str:
    """With an image's disk it boots that, without one the firmware alone. It has no network.

    An image may turn itself off or reboot soon; it goes on then, so that what ends is what could not be run.
    """
    disk = [] if disk_path is None else [
        E.disk(
            E.driver(name="qemu", type="qcow2"),
            E.source(file=disk_path),
            E.target(dev="vda", bus="virtio"),
            type="file",
            device="disk",
        )
    ]  # fmt: skip
    return document(
        E.domain(
            E.name(name),
            E.memory(str(_RAM_MB), unit="MiB"),
            E.vcpu("1"),
            E.os(E.type("hvm", arch="x86_64", machine="q35")),
            E.features(E.acpi(), E.apic()),
            cpu.cpu(cpu_mode, 1),
            E.on_poweroff("restart"),
            E.on_reboot("restart"),
            E.on_crash("destroy"),
            E.devices(*disk, E.memballoon(model="none")),
            type=domain_type,
        )
    )
