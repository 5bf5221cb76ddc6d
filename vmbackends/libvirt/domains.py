"""A VM's domain on its node: looked up, defined, switched on and off, taken away.

Every function may be repeated. A domain is a VM's own by its UUID, which follows from the VM's id: one that only has
its name is somebody else's, and libvirt refuses a second of that name.
https://libvirt.org/html/libvirt-libvirt-domain.html
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import libvirt
from lxml import etree

from vmbackends.base import Power, VmSpec
from vmbackends.errors import Refused
from vmbackends.libvirt.errors import is_missing
from vmbackends.libvirt.handles import Connection, Domain
from vmbackends.libvirt.names import domain_uuid
from vmbackends.libvirt.states import power_of

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


def find(connection: Connection, vm: VmSpec) -> Domain | None:
    try:
        return connection.lookupByUUIDString(domain_uuid(vm.id))
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise


def require(connection: Connection, vm: VmSpec) -> Domain:
    domain = find(connection, vm)
    if domain is None:
        raise Refused(not_defined(vm))
    return domain


def not_defined(vm: VmSpec) -> str:
    return f"The domain of {vm.name} is not defined on its node. Start or restart the VM: that defines it."


def power(domain: Domain) -> tuple[Power, str]:
    """Its power and why, `Power.MISSING` where it has gone since it was looked up."""
    try:
        state, reason = domain.state()
    except libvirt.libvirtError as e:
        if is_missing(e):
            return Power.MISSING, ""
        raise
    return power_of(state, reason)


def is_active(domain: Domain) -> bool:
    """False also where it has gone."""
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as e:
        if is_missing(e):
            return False
        raise


def define(connection: Connection, xml: str) -> Domain:
    """Over an older definition. libvirt's schema is asked, so that no element of ours is dropped in silence."""
    return connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def is_starting(domain: Domain) -> bool:
    """Whether QEMU has been started and is not there yet, whoever asked for it."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)


def has_failed_to_start(domain: Domain) -> bool:
    """Whether it is off because the last start of it came to nothing. libvirtd that died in the middle leaves another
    reason."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)


def start(domain: Domain) -> None:
    """Returns when QEMU is there, which may take minutes: it pins what memory a GPU is to reach."""
    if is_active(domain):
        go_on(domain)
        return
    try:
        domain.create()
    except libvirt.libvirtError:
        if not is_active(domain):  # else another was quicker
            raise


def is_paused_by_hand(domain: Domain) -> bool:
    """As a restore leaves it, too."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)


def go_on(domain: Domain) -> None:
    """Let a guest run again that was paused by hand."""
    if is_paused_by_hand(domain):
        try:
            domain.resume()
        except libvirt.libvirtError:
            if power(domain)[0] is not Power.RUNNING:  # else another was quicker, or a restore came to its end
                raise


def shut_down(domain: Domain, by_agent: bool) -> None:
    """Ask the guest by the power button, or by its agent if that may be and is there.

    Returns when the request is taken, or not. libvirt waits for QEMU as long as that takes, and a minute for the agent.
    """
    agent = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT if by_agent and has_agent(domain) else 0
    try:
        domain.shutdownFlags(agent | libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    except libvirt.libvirtError as e:
        # "domain is not running": one that goes off in this moment is active for a little longer.
        if e.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID and is_active(domain):
            raise


def power_off(domain: Domain) -> None:
    """Cut the power; returns when it is off or gone."""
    if not is_active(domain):
        return
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if is_active(domain):
            raise


def undefine(domain: Domain) -> None:
    """Remove the definition and what belongs to it. A running one is refused: libvirt would only make it transient."""
    if is_active(domain):
        raise Refused(f"{domain.name()} runs. Its power must be off before it is removed.")
    try:
        domain.undefineFlags(_UNDEFINE)
    except libvirt.libvirtError as e:
        if not is_missing(e):
            raise


def eject_seed(domain: Domain, path: str) -> None:
    """Take it out of the drive, now and in the definition, also where the guest has it mounted."""
    for xml_flags, flag in (
        (0, libvirt.VIR_DOMAIN_AFFECT_LIVE),
        (libvirt.VIR_DOMAIN_XML_INACTIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG),
    ):
        if flag == libvirt.VIR_DOMAIN_AFFECT_LIVE and not is_active(domain):
            continue
        for disk in etree.fromstring(domain.XMLDesc(xml_flags)).iterfind("devices/disk[@device='cdrom']"):
            source = disk.find("source")
            if source is not None and source.get("file") == path:
                disk.remove(source)
                xml = etree.tostring(disk, encoding="unicode")
                try:
                    domain.updateDeviceFlags(xml, flag | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)
                except libvirt.libvirtError:
                    if flag == libvirt.VIR_DOMAIN_AFFECT_CONFIG or is_active(domain):  # else it went off in this moment
                        raise


def has_agent(domain: Domain) -> bool:
    """Whether a guest agent listens on the other end of the domain's channel now."""
    channels = etree.fromstring(domain.XMLDesc(0)).iterfind("devices/channel/target")
    return any(
        target.get("name") == "org.qemu.guest_agent.0" and target.get("state") == "connected" for target in channels
    )


def paths_in_use(connection: Connection) -> set[str]:
    """The files that running domains, whoever they are of, have as disks, and what those are clones of.

    libvirt's own record tells, which it keeps of what runs. Statistics would in one call, but of QEMU: for one that
    hangs they wait without end.
    """
    running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    sources = (source for _, xml in described(running) for source in xml.iterfind("devices/disk//source"))
    return {path for source in sources if (path := _path_of(connection, source))}


def _path_of(connection: Connection, source: "etree._Element") -> str | None:
    """Of a source that is a file, or a volume of a pool, which may have been stopped since. None of another."""
    pool, volume = source.get("pool"), source.get("volume")
    if pool is None or volume is None:
        return source.get("file")
    try:
        folder = etree.fromstring(connection.storagePoolLookupByName(pool).XMLDesc(0)).findtext("target/path")
    except libvirt.libvirtError as e:
        if is_missing(e):
            return None
        raise
    return str(PurePosixPath(folder) / volume) if folder else None


def described(domains: Iterable[Domain]) -> Iterator[tuple[Domain, "etree._Element"]]:
    """Each of them with its XML, a call for each. One that went meanwhile is passed over."""
    for domain in domains:
        try:
            xml = domain.XMLDesc(0)
        except libvirt.libvirtError as e:
            if is_missing(e):
                continue
            raise
        yield domain, etree.fromstring(xml)
