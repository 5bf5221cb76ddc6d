"""What a VM holds of others: quota, room on its node, GPUs or a MIG instance, and an address.

All of it is taken and given back in the transaction that changes the VM, always in this order: quota, room,
claims. So two that want the same things wait for each other and never lock each other out.
"""

from dataclasses import dataclass

from accounts import quotas
from accounts.quotas import Usage
from nodes import claims, room
from nodes.models import Node
from nodes.room import Room
from resources.config import VirtualMachineConfig, gpu_count, mig_count
from resources.models import VirtualMachine


@dataclass(frozen=True)
class Wants:
    """What a config asks for on a node. `snapshots_gb` is the disk that its snapshots hold besides."""

    config: VirtualMachineConfig
    snapshots_gb: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(
            vms=1,
            vcpus=self.config.vcpus,
            ram_mb=self.config.ram_mb,
            disk_gb=self.config.disk_gb + self.snapshots_gb,
            gpus=gpu_count(self.config),
            mig_instances=mig_count(self.config),
        )

    @property
    def room(self) -> Room:
        return Room(self.config.vcpus, self.config.ram_mb, self.config.disk_gb + self.snapshots_gb)


def take(vm_id: str, org_id: str, node: Node, wants: Wants) -> list[str]:
    """Take all of it for a new VM. Gives what was allocated of GPUs. Raises QuotaExceeded or Conflict."""
    quotas.reserve(org_id, wants.usage)
    room.reserve(node.id, wants.room)
    allocated = _take_gpus(vm_id, org_id, node.id, wants.config)
    _take_address(vm_id, org_id, node.segment, wants.config)
    return allocated


def change(vm: VirtualMachine, node: Node, before: Wants, after: Wants) -> list[str]:
    """Move a VM's holdings to a new config, and to another node where `node` is not its own."""
    quotas.change(vm.organization_id, before.usage, after.usage)
    if node.id == vm.node_id:
        room.change(node.id, before.room, after.room)
    else:
        room.reserve(node.id, after.room)
        room.give_back(vm.node_id, before.room)
    allocated: list[str] = vm.allocated_gpu
    if node.id != vm.node_id or before.config.gpu_config != after.config.gpu_config:
        # Given back first, so that a VM may keep one GPU of two; all is undone together where another is taken.
        claims.give_back_gpus(vm.id)
        allocated = _take_gpus(vm.id, vm.organization_id, node.id, after.config)
    if _address(vm.node.segment, before.config) != _address(node.segment, after.config):
        claims.give_back_address(vm.id)
        _take_address(vm.id, vm.organization_id, node.segment, after.config)
    return allocated


def give_back(vm: VirtualMachine) -> None:
    """Give all of it back: nothing of the VM is on its node any more."""
    wants = Wants(vm.config, vm.snapshots_gb)
    quotas.give_back(vm.organization_id, wants.usage)
    room.give_back(vm.node_id, wants.room)
    claims.give_back(vm.id)


def _take_gpus(vm_id: str, org_id: str, node_id: str, config: VirtualMachineConfig) -> list[str]:
    gpu = config.gpu_config
    if gpu is None or not gpu.enabled:
        return []
    if gpu.mode == "mig":
        return [claims.take_mig(vm_id, org_id, node_id, gpu.mig_profile or "")]
    return claims.take_gpus(vm_id, org_id, node_id, list(gpu.device_ids or ()))


def _address(segment: str, config: VirtualMachineConfig) -> tuple[str, int | None, str] | None:
    network = config.network_config
    return (segment, network.vlan_id, network.ip_address) if network.ip_address else None


def _take_address(vm_id: str, org_id: str, segment: str, config: VirtualMachineConfig) -> None:
    address = _address(segment, config)
    if address is not None:
        claims.take_address(vm_id, org_id, *address)
