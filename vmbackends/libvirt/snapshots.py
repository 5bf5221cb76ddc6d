"""Internal snapshots: they lie in the VM's own qcow2 file, with its memory if they were taken while it ran.

External ones can be made, but the libvirt of Debian 12 can neither go back to one nor remove it.
https://libvirt.org/formatsnapshot.html

What has memory may take minutes, in which libvirtd answers nobody who wants to change the domain. How far it is anybody
can see who asks, by what is said here of each; nothing is remembered but by the node.
"""

import logging
import time
from enum import Enum

import libvirt
from lxml import etree

from vmbackends.base import SnapshotSpec, VmSpec
from vmbackends.errors import Refused, Untouched
from vmbackends.libvirt import domains, names, qcow2, volumes
from vmbackends.libvirt.errors import is_missing
from vmbackends.libvirt.handles import Connection, Domain, DomainSnapshot, Pool, Volume
from vmbackends.libvirt.xml.snapshots import lost_snapshot_xml, mark_of, marked, snapshot_xml

log = logging.getLogger(__name__)

# What takes longer leaves too little of a step's time for more.
_SHORT_S = 5.0


class Stage(Enum):
    NOT_BEGUN = "not begun"  # or failed, and to be begun again
    UNDER_WAY = "under way"
    DONE = "done"


def refusal(vm: VmSpec, with_memory: bool) -> str | None:
    """Why this VM can have no such snapshot, with what would help."""
    if with_memory and vm.gpus:
        return "A snapshot of a running VM holds its memory, and that of a GPU cannot be saved. Stop the VM first."
    if with_memory and vm.image is not None and vm.image.firmware == "uefi":
        return "A VM with UEFI firmware can have snapshots only while it is stopped. Stop it first."
    return None


# Taking one


def is_known(domain: Domain, snapshot: SnapshotSpec) -> bool:
    """Whether libvirt has it in its list: from the moment on in which it begins to take it."""
    return _find(domain, snapshot) is not None


def size(connection: Connection, pool: Pool, vm: VmSpec, snapshot: SnapshotSpec) -> int | None:
    """The bytes of memory in it, or None where it is not in the disk's file: QEMU enters it there when it is whole. So
    it is where the file is being changed while it is read."""
    disk = volumes.disk_of(pool, vm)
    try:
        return _size_in(connection, disk, snapshot)
    except ValueError as e:
        log.info("a disk's snapshots cannot be read", extra={"vm": vm.id, "reason": str(e)})
        return None


def _size_in(connection: Connection, disk: Volume, snapshot: SnapshotSpec) -> int | None:
    sizes = qcow2.snapshot_sizes(lambda offset, length: volumes.download(connection, disk, offset, length))
    return sizes.get(names.snapshot_name(snapshot.id))


def take(domain: Domain, snapshot: SnapshotSpec) -> None:
    """A call that waited for another worker's finds that it is there."""
    try:
        domain.snapshotCreateXML(snapshot_xml(names.snapshot_name(snapshot.id), snapshot.name), 0)
    except libvirt.libvirtError:
        if not is_known(domain, snapshot):
            raise


# Going back to one


def restored(domain: Domain, snapshot: SnapshotSpec, mark: str) -> Stage:
    """How far the restore is that has this mark.

    The mark is written into the definitions that the snapshot holds. libvirt makes them the domain's as it goes back,
    before it starts QEMU, and takes the mark away with nothing but a later restore or definition.
    """
    if _mark(domain) != mark:
        return Stage.NOT_BEGUN
    match tuple(domain.state()):
        case libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
            return Stage.UNDER_WAY  # QEMU reads the memory
        case libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED if snapshot.with_memory:
            return Stage.NOT_BEGUN  # QEMU could not be started: the guest has not run. Without memory none is started.
    return Stage.DONE


def survives(domain: Domain, snapshot: SnapshotSpec) -> bool:
    """Whether a restore leaves the domain there. Its power is cut to go back to what has no memory, and one that was
    undefined by hand is gone with its power."""
    return snapshot.with_memory or bool(domain.isPersistent())


def forgotten(vm: VmSpec, snapshot: SnapshotSpec) -> Untouched:
    """Of one with memory, to which nobody can go back."""
    return Untouched(
        f"The node has forgotten the snapshot {snapshot.name!r} of {vm.name}: its domain was undefined by hand. "
        "Delete the snapshot."
    )


def recall(connection: Connection, pool: Pool, domain: Domain, vm: VmSpec, snapshot: SnapshotSpec) -> None:
    """Put one that libvirt forgot on its list again. Raises Untouched where it cannot be gone back to any more.

    Memory fits no definition but the one that it was taken with, and libvirt forgot that as well.
    """
    if snapshot.with_memory:
        raise forgotten(vm, snapshot)
    if not is_left(connection, pool, vm, snapshot):
        raise Untouched(f"The disk of {vm.name} does not hold the snapshot {snapshot.name!r}. Delete the snapshot.")
    remember(domain, snapshot)


def prepare(domain: Domain, snapshot: SnapshotSpec, mark: str) -> bool:
    """Mark the snapshot, after which `revert` may come. False where it may not, or not in this step any more.

    To mark it libvirt waits until it does nothing else with the domain. So no call of a worker that died can be
    waiting or under way behind the look that follows, and bring the guest back once more when it has run on.
    """
    began = time.monotonic()
    found = domain.snapshotLookupByName(names.snapshot_name(snapshot.id), 0)
    xml = found.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE)
    domain.snapshotCreateXML(marked(xml, mark), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
    if restored(domain, snapshot, mark) is not Stage.NOT_BEGUN or time.monotonic() - began > _SHORT_S:
        return False
    if not snapshot.with_memory:
        domains.power_off(domain)
    return True


def revert(domain: Domain, vm: VmSpec, snapshot: SnapshotSpec) -> None:
    """A guest with memory that is to be off then does not run meanwhile."""
    paused = snapshot.with_memory and not vm.power.on
    found = domain.snapshotLookupByName(names.snapshot_name(snapshot.id), 0)
    domain.revertToSnapshot(found, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED if paused else 0)


# Removing one


def is_left(connection: Connection, pool: Pool, vm: VmSpec, snapshot: SnapshotSpec) -> bool:
    """Whether it is in the disk's file. libvirt forgets it with the domain's definition, and it stays there."""
    disk = volumes.disk_of(pool, vm)
    try:
        return _size_in(connection, disk, snapshot) is not None
    except ValueError as e:
        raise Untouched(f"The snapshots in the disk of {vm.name} cannot be read: {e}. Try again in a minute.") from e


def remember(domain: Domain, snapshot: SnapshotSpec) -> None:
    """Put one that is in the disk on libvirt's list again, so that it can be removed, or gone back to if it has no
    memory."""
    name = names.snapshot_name(snapshot.id)
    definition = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE)
    xml = lost_snapshot_xml(
        name, snapshot.name, definition, with_memory=snapshot.with_memory, created_at=snapshot.created_at
    )
    domain.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)


def delete(domain: Domain, snapshot: SnapshotSpec) -> None:
    """A call that waited for another worker's finds it gone."""
    try:
        found = _find(domain, snapshot)
        if found is not None and _has_disks_that_went(domain, found):
            found = _taken_back(domain, snapshot, found)
        if found is not None:
            found.delete(0)
    except libvirt.libvirtError as e:
        if not is_missing(e):
            raise


def _taken_back(domain: Domain, snapshot: SnapshotSpec, found: DomainSnapshot) -> DomainSnapshot | None:
    """Of the domain as it is now: libvirt 9.0 ends with a segmentation fault where it is to delete one that has disks
    which the guest has not. Who is killed in between is followed by one who finds it on the disk alone."""
    found.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
    remember(domain, snapshot)
    again = _find(domain, snapshot)
    if again is not None and _has_disks_that_went(domain, again):
        raise Refused(f"The snapshot {snapshot.name!r} cannot be removed while the VM runs. Stop it first.")
    return again


def _has_disks_that_went(domain: Domain, found: DomainSnapshot) -> bool:
    """Whether it has disks that the guest that runs has not, as the seed that there was at the first boot."""
    if not domain.isActive():
        return False
    live = etree.fromstring(domain.XMLDesc(0)).xpath("devices/disk/target/@dev")
    then = etree.fromstring(found.getXMLDesc(0)).xpath("disks/disk/@name")
    return not set(then) <= set(live)


def _find(domain: Domain, snapshot: SnapshotSpec) -> DomainSnapshot | None:
    try:
        return domain.snapshotLookupByName(names.snapshot_name(snapshot.id), 0)
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise


def _mark(domain: Domain) -> str | None:
    """Of the guest that runs, else of the definition."""
    try:
        return mark_of(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, names.RESTORE_NS, 0))
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise
