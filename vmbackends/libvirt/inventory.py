"""What a node is and has, and what it lacks."""

from collections.abc import Iterator

import libvirt
from lxml import etree

from vmbackends.base import Lack, NodeRef, NodeReport
from vmbackends.errors import Refused
from vmbackends.libvirt import images, networks, trial, volumes
from vmbackends.libvirt.boot import boot_id
from vmbackends.libvirt.errors import translated
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.trial import Works

# Debian 12's. Older ones were not tried.
LEAST_LIBVIRT = 9_000_000
LEAST_QEMU = 7_002_000


def probe(connection: Connection, node: NodeRef) -> NodeReport:
    """Raises Refused where not even its boot can be told, or another check is under way."""
    _, memory_mib, cpus, *_ = connection.getInfo()
    boot = boot_id(connection)
    libvirt_version, qemu_version = connection.getLibVersion(), _qemu_version(connection)
    versions = {"libvirt": _words(libvirt_version), "qemu": _words(qemu_version) if qemu_version else "none"}
    lacks = [*_old(libvirt_version, qemu_version), *networks.lacks(connection, node)]
    try:
        with translated(node, "start its storage pool", answers=connection.isAlive):
            pool = volumes.open_pool(connection, node.settings.pool)
    except Refused as e:
        there_is_none = e.code == libvirt.VIR_ERR_NO_STORAGE_POOL
        lacks.insert(0, _no_pool(node) if there_is_none else _stopped_pool(node, e))
        none_or_unknown = () if there_is_none else None
        return NodeReport(
            boot, vcpus=cpus, ram_mb=memory_mib, versions=versions, images=none_or_unknown, lacks=tuple(lacks)
        )
    volumes.refresh(pool)  # what was put there by hand counts as well
    there = images.reports(pool)
    works = _try(connection, pool, node) if qemu_version else None
    lacks += _not_started_with_node(pool, node)
    lacks += _guests(node, works) if qemu_version else ()
    for image, clones in images.lost(pool).items():
        lacks.append(
            Lack(
                f"The image {image} is gone, of which {clones} disks are clones: their VMs cannot be started.",
                f"manage.py images push NAME {node.name} if it is kept still, else put its file back from a backup.",
            )
        )
    if not there:
        lacks.append(Lack("It has no OS image.", f"manage.py images push NAME {node.name}"))
    return NodeReport(
        boot_id=boot,
        vcpus=cpus,
        ram_mb=memory_mib,
        disk_gb=pool.info()[1] // volumes.GIB,
        images=there,
        domain_type=works.domain_type if works else None,
        cpu_mode=works.cpu_mode if works else None,
        capabilities=_capabilities(connection) if qemu_version else (),
        versions=versions,
        lacks=tuple(lacks),
    )


def _try(connection: Connection, pool: Pool, node: NodeRef) -> Works | None:
    """What the operator says, where they say it; else the best that works."""
    wanted_type, wanted_cpu = node.settings.domain_type, node.settings.cpu_mode
    candidates = [
        (domain_type, wanted_cpu or cpu_mode)
        for domain_type, cpu_mode in trial.CANDIDATES
        if wanted_type in ("", domain_type)
    ]
    bases = [volume for report in images.reports(pool) if (volume := volumes.find(pool, report.volume))]
    base = min(bases, key=lambda volume: int(volume.info()[1]), default=None)
    return trial.first_that_works(connection, pool, base, dict.fromkeys(candidates))


def _not_started_with_node(pool: Pool, node: NodeRef) -> Iterator[Lack]:
    if not pool.autostart():
        name = node.settings.pool
        yield Lack(f"The storage pool {name} is not started with the node.", f"virsh pool-autostart {name}")


def _guests(node: NodeRef, works: Works | None) -> Iterator[Lack]:
    """What keeps them from coming up, or from doing so at a speed that one expects."""
    if works is None:
        wanted = " ".join(filter(None, (node.settings.domain_type, node.settings.cpu_mode)))
        yield Lack(
            f"No guest comes up{f' as {wanted}' if wanted else ''}.",
            "Look at /var/log/libvirt/qemu/aiwm-trial-*.log on the node; inside a virtual machine, set the node's "
            "domain type to qemu.",
        )
    elif works.domain_type == "qemu" and not node.settings.domain_type:
        yield Lack(
            "No guest comes up with KVM; emulated ones do, many times slower.",
            "Turn virtualization on in its firmware, or for the virtual machine that it is, and modprobe kvm_intel or "
            "kvm_amd. If it is to emulate guests, set its domain type to qemu.",
        )


def _old(libvirt_version: int, qemu_version: int | None) -> Iterator[Lack]:
    if qemu_version is None:
        yield Lack("It has no QEMU.", "apt-get install qemu-system-x86")
    for name, have, least in (("libvirt", libvirt_version, LEAST_LIBVIRT), ("QEMU", qemu_version, LEAST_QEMU)):
        if have is not None and have < least:
            yield Lack(f"Its {name} is {_words(have)}, older than {_words(least)}.", f"Upgrade {name} on the node.")


def _capabilities(connection: Connection) -> tuple[str, ...] | None:
    """What guests can have of what not each can, as libvirt finds programs and firmware for it on the node. None where
    it cannot tell, as of a QEMU for other machines.

    https://libvirt.org/formatdomaincaps.html
    """
    try:
        offered = etree.fromstring(connection.getDomainCapabilities(None, "x86_64", "q35", None, 0))
    except libvirt.libvirtError:
        if not connection.isAlive():
            raise
        return None
    wanted = {
        "uefi": "os/enum[@name='firmware'][value='efi']",
        "tpm": "devices/tpm[@supported='yes']/enum[@name='backendModel'][value='emulator']",
    }
    return tuple(name for name, place in wanted.items() if offered.find(place) is not None)


def _qemu_version(connection: Connection) -> int | None:
    """None where libvirt finds no QEMU for our guests."""
    try:
        return int(connection.getVersion())
    except libvirt.libvirtError as e:
        if e.get_error_code() == libvirt.VIR_ERR_ACCESS_DENIED or not connection.isAlive():
            raise
        return None


def _no_pool(node: NodeRef) -> Lack:
    name = node.settings.pool
    return Lack(
        f"It has no storage pool {name}.",
        f"virsh pool-define-as {name} dir --target /var/lib/libvirt/{name} && virsh pool-build {name} && "
        f"virsh pool-start {name} && virsh pool-autostart {name}",
    )


def _stopped_pool(node: NodeRef, why: Refused) -> Lack:
    name = node.settings.pool
    return Lack(why.message, f"Mount what {name} is on, if that is it, and virsh pool-start {name} on the node.")


def _words(number: int) -> str:
    """libvirt counts a version as major * 1,000,000 + minor * 1,000 + release."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
