"""One look at a whole node, in as many calls however many VMs it has."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import libvirt

from vmbackends.base import DomainState, NodeRef, Observation, Power, VmSpec
from vmbackends.errors import Refused
from vmbackends.libvirt import trial
from vmbackends.libvirt.boot import boot_id
from vmbackends.libvirt.errors import translated
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.names import disk_volume, domain_uuid, is_image_volume, vm_id_of, vm_id_of_volume
from vmbackends.libvirt.states import power_of
from vmbackends.libvirt.volumes import open_pool

MISSING = DomainState(Power.MISSING)


def observe(connection: Connection, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
    """A running guest is taken for booted: only a look at the one VM asks it. Domains are seen without a pool, too."""
    faults: list[str] = []
    boot = _boot(connection, node, faults)
    states: dict[str, DomainState] = {}  # by the VM's id
    names: dict[str, list[str]] = {}
    foreign: list[str] = []
    for domain, fields in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        name = domain.name()
        if name.startswith(trial.NAME):
            continue
        vm_id = vm_id_of(name)
        if vm_id is None or domain_uuid(vm_id) != domain.UUIDString():
            foreign.append(name)
            continue
        power, reason = power_of(fields["state.state"], fields["state.reason"])
        states[vm_id] = DomainState(power, booted=power is Power.RUNNING, reason=reason)
        names[vm_id] = [name]
    volumes = _volumes(connection, node, faults)
    images: list[str] = []
    for volume in volumes or ():
        vm_id = vm_id_of_volume(volume)
        if vm_id is not None:
            names.setdefault(vm_id, []).append(volume)
        elif is_image_volume(volume):
            images.append(volume)
    return Observation(
        boot_id=boot,
        domains={vm.id: with_address(states.get(vm.id, MISSING), vm) for vm in vms},
        foreign=tuple(sorted(foreign)),
        unasked={vm_id: tuple(sorted(names[vm_id])) for vm_id in names.keys() - {vm.id for vm in vms}},
        images=tuple(sorted(images)),
        diskless=_diskless(vms, volumes),
        volumes_seen=volumes is not None,
        faults=tuple(faults),
    )


def _diskless(vms: Sequence[VmSpec], volumes: Collection[str] | None) -> tuple[str, ...]:
    if volumes is None:
        return ()
    there = set(volumes)
    return tuple(vm.id for vm in vms if disk_volume(vm.id) not in there)


def _boot(connection: Connection, node: NodeRef, faults: list[str]) -> str:
    try:
        with translated(node, "tell its boot id", answers=connection.isAlive):
            return boot_id(connection)
    except Refused as e:
        faults.append(f"{e.message} Until it can be, what a reboot of the node turns off is not started again.")
        return ""


def _volumes(connection: Connection, node: NodeRef, faults: list[str]) -> list[str] | None:
    """The names of those in the node's pool; None where it cannot be opened."""
    try:
        with translated(node, "look into its storage pool", answers=connection.isAlive):
            return [volume.name() for volume in open_pool(connection, node.settings.pool).listAllVolumes(0)]
    except Refused as e:
        faults.append(e.message)
        return None


def with_address(state: DomainState, vm: VmSpec) -> DomainState:
    """A running guest of a static address has that one: the node's filters let it have no other."""
    if state.power is not Power.RUNNING or vm.network.ip_address is None:
        return state
    return replace(state, ip_address=vm.network.ip_address)
