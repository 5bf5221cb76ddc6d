"""One look at a whole node, in one call however many VMs it has."""

from collections.abc import Sequence
from dataclasses import replace

import libvirt

from vmbackends.base import DomainState, Observation, Power, VmSpec
from vmbackends.libvirt.boot import boot_id
from vmbackends.libvirt.handles import Connection
from vmbackends.libvirt.names import domain_uuid, vm_id_of
from vmbackends.libvirt.states import power_of

MISSING = DomainState(Power.MISSING)


def observe(connection: Connection, vms: Sequence[VmSpec]) -> Observation:
    """A running guest is taken for booted: only a look at the one VM asks it."""
    boot = boot_id(connection)
    states: dict[str, DomainState] = {}  # by the VM's id
    foreign: list[str] = []
    for domain, fields in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        vm_id = vm_id_of(domain.name())
        if vm_id is None or domain_uuid(vm_id) != domain.UUIDString():
            foreign.append(domain.name())
            continue
        power, reason = power_of(fields["state.state"], fields["state.reason"])
        states[vm_id] = DomainState(power, booted=power is Power.RUNNING, reason=reason)
    domains = {vm.id: with_address(states.pop(vm.id, MISSING), vm) for vm in vms}
    return Observation(boot, domains, foreign=tuple(sorted(foreign)), unasked=tuple(sorted(states)))


def with_address(state: DomainState, vm: VmSpec) -> DomainState:
    """A running guest of a static address has that one: the node's filters let it have no other."""
    if state.power is not Power.RUNNING or vm.network.ip_address is None:
        return state
    return replace(state, ip_address=vm.network.ip_address)
