"""Internal snapshots: they lie in the VM's own qcow2 file, with its memory if they were taken while it ran.

External ones can be made, but the libvirt of Debian 12 can neither go back to one nor remove it.
https://libvirt.org/formatsnapshot.html
"""

import libvirt

from vmbackends.base import SnapshotSpec, VmSpec
from vmbackends.errors import Refused
from vmbackends.libvirt import domains, names, qcow2, volumes
from vmbackends.libvirt.errors import is_missing
from vmbackends.libvirt.handles import Connection, Domain, Pool
from vmbackends.libvirt.xml.snapshots import snapshot_xml


def refusal(vm: VmSpec, with_memory: bool) -> str | None:
    """Why this VM can have no such snapshot, with what would help."""
    if with_memory and vm.gpus:
        return "A snapshot of a running VM holds its memory, and that of a GPU cannot be saved. Stop the VM first."
    if with_memory and vm.image is not None and vm.image.firmware == "uefi":
        return "A VM with UEFI firmware can have snapshots only while it is stopped. Stop it first."
    return None


def create(connection: Connection, pool: Pool, domain: Domain, vm: VmSpec, snapshot: SnapshotSpec) -> int:
    """Take it unless it is there; gives its size in bytes: that of the memory in it."""
    name = names.snapshot_name(snapshot.id)
    if _find(domain, snapshot) is None:
        domain.snapshotCreateXML(snapshot_xml(name, snapshot.name), 0)
    disk = volumes.find(pool, names.disk_volume(vm.id))
    if disk is None:
        raise Refused(f"The disk of {vm.name} is gone from the pool {pool.name()}.")
    return qcow2.snapshot_sizes(lambda offset, length: volumes.download(connection, disk, offset, length)).get(name, 0)


def restore(domain: Domain, vm: VmSpec, snapshot: SnapshotSpec) -> None:
    """Back to it, and then the power as the spec has it."""
    found = _find(domain, snapshot)
    if found is None:
        raise Refused(f"The node does not have the snapshot {snapshot.name}.")
    if not snapshot.with_memory:
        domains.power_off(domain)
    domain.revertToSnapshot(found, 0)
    if vm.power.on:
        domains.start(domain)
    else:
        domains.power_off(domain)


def delete(domain: Domain, snapshot: SnapshotSpec) -> None:
    found = _find(domain, snapshot)
    if found is not None:
        found.delete(0)


def _find(domain: Domain, snapshot: SnapshotSpec) -> libvirt.virDomainSnapshot | None:
    try:
        return domain.snapshotLookupByName(names.snapshot_name(snapshot.id), 0)
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise
