"""What a node is and has."""

from collections.abc import Mapping

from vmbackends.base import NodeRef, NodeReport
from vmbackends.libvirt import images, volumes
from vmbackends.libvirt.boot import boot_id
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.placement import domain_type_of


def probe(connection: Connection, node: NodeRef) -> NodeReport:
    pool = volumes.open_pool(connection, node.settings.pool)
    pool.refresh(0)  # what was put there by hand counts as well
    _, memory_mib, cpus, *_ = connection.getInfo()
    return NodeReport(
        boot_id=boot_id(connection),
        vcpus=cpus,
        ram_mb=memory_mib,
        disk_gb=pool.info()[1] // volumes.GIB,
        images=images.reports(pool),
        domain_type=domain_type_of(connection),
        versions=versions(connection),
    )


def versions(connection: Connection) -> Mapping[str, str]:
    return {"libvirt": _version(connection.getLibVersion()), "qemu": _version(connection.getVersion())}


def _version(number: int) -> str:
    """libvirt counts a version as major * 1,000,000 + minor * 1,000 + release."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
