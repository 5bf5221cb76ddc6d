"""From rows to the plain data that a backend takes."""

import hashlib
from collections.abc import Mapping, Sequence

from nodes.claims import gpu_specs
from nodes.images import image_specs
from resources.config import VirtualMachineConfig, effective_username
from resources.models import VirtualMachine
from vmbackends.base import CloudInitSpec, GpuSpec, ImageSpec, NetworkSpec, PowerIntent, VmSpec


def mac_address(vm_id: str) -> str:
    """The MAC of a VM, always the same, so that no ARP table remembers an older one.

    The first octet marks it as locally administered and unicast; forty bits of a digest keep two VMs of one
    network from sharing it.
    """
    digest = hashlib.sha256(vm_id.encode()).digest()
    return ":".join(["52", *(f"{octet:02x}" for octet in digest[:5])])


def vm_spec(vm: VirtualMachine, power: PowerIntent | None = None) -> VmSpec:
    """What a node must know of this VM; `power` where a task wants another than the row says."""
    return _spec(vm, power, image_specs([vm.os_image]))


def vm_specs(vms: Sequence[VirtualMachine]) -> list[VmSpec]:
    """Of many: their images are read once."""
    images = image_specs([vm.os_image for vm in vms]) if vms else {}
    return [_spec(vm, None, images) for vm in vms]


def _spec(vm: VirtualMachine, power: PowerIntent | None, images: Mapping[str, ImageSpec]) -> VmSpec:
    return build_spec(
        vm_id=vm.id,
        name=vm.name,
        organization=vm.organization.name,
        config=vm.config,
        gpus=gpu_specs(vm.node_id, vm.allocated_gpu) if vm.allocated_gpu else (),
        power=power or PowerIntent(on=vm.desired_on, since=vm.desired_since or vm.created_at),
        image=images.get(vm.os_image),
    )


def build_spec(
    *,
    vm_id: str,
    name: str,
    organization: str,
    config: VirtualMachineConfig,
    gpus: Sequence[GpuSpec],
    power: PowerIntent,
    image: ImageSpec | None = None,
) -> VmSpec:
    network = config.network_config
    cloud_init = config.cloud_init
    return VmSpec(
        id=vm_id,
        name=name,
        organization=organization,
        os_image=config.os_image,
        vcpus=config.vcpus,
        ram_mb=config.ram_mb,
        disk_gb=config.disk_gb,
        network=NetworkSpec(
            mac=mac_address(vm_id),
            vlan_id=network.vlan_id,
            ip_mode=network.ip_mode,
            ip_address=network.ip_address,
            netmask=network.netmask,
            gateway=network.gateway,
        ),
        power=power,
        gpus=tuple(gpus),
        image=image,
        cloud_init=None
        if cloud_init is None
        else CloudInitSpec(
            hostname=cloud_init.hostname,
            ssh_public_key=cloud_init.ssh_public_key,
            username=effective_username(config),
        ),
    )
