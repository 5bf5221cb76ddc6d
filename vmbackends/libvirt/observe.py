"""One look at a whole node, in as many calls however many VMs it has."""

from collections.abc import Sequence
from dataclasses import replace

import libvirt

from vmbackends.base import DomainState, Observation, Power, VmSpec
from vmbackends.libvirt import trial
from vmbackends.libvirt.boot import boot_id
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.names import domain_uuid, is_image_volume, vm_id_of, vm_id_of_volume
from vmbackends.libvirt.states import power_of

MISSING = DomainState(Power.MISSING)


def observe(connection: Connection, pool: Pool, vms: Sequence[VmSpec]) -> Observation:
    """A running guest is taken for booted: only a look at the one VM asks it."""
    boot = boot_id(connection)
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
    images: list[str] = []
    for volume in pool.listAllVolumes(0):
        vm_id = vm_id_of_volume(volume.name())
        if vm_id is not None:
            names.setdefault(vm_id, []).append(volume.name())
        elif is_image_volume(volume.name()):
            images.append(volume.name())
    return Observation(
        boot_id=boot,
        domains={vm.id: with_address(states.get(vm.id, MISSING), vm) for vm in vms},
        foreign=tuple(sorted(foreign)),
        unasked={vm_id: tuple(sorted(names[vm_id])) for vm_id in names.keys() - {vm.id for vm in vms}},
        images=tuple(sorted(images)),
    )


def with_address(state: DomainState, vm: VmSpec) -> DomainState:
    """A running guest of a static address has that one: the node's filters let it have no other."""
    if state.power is not Power.RUNNING or vm.network.ip_address is None:
        return state
    return replace(state, ip_address=vm.network.ip_address)
