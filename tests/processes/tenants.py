"""Runs in a process of a site: organizations that want the same few GPUs and addresses, and who watches over them.

What is looked for is computed from the VMs' own documents, with a table of NVIDIA's placements of its own: not from
the claims, whose rules are what is tested.
"""

import time
from collections import Counter, defaultdict
from typing import Any

from accounts.models import Organization
from accounts.tokens import issue
from common.db import atomic, see_one_moment
from nodes.models import Claim, Node
from resources.models import VirtualMachine
from resources.recount import recount
from tests.factories import GpuFactory, NodeFactory, OrganizationFactory, UserFactory

A100 = ("NVIDIA A100-PCIE-40GB", 40_960)
A30 = ("NVIDIA A30", 24_576)
# Of each model: how many memory slices, and of each profile the length and the starts that are allowed.
# https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html
SLICES = {A100[0]: 8, A30[0]: 4}
PLACEMENTS = {
    A100[0]: {
        "1g.5gb": (1, (0, 1, 2, 3, 4, 5, 6)),
        "1g.10gb": (2, (0, 2, 4, 6)),
        "2g.10gb": (2, (0, 2, 4)),
        "3g.20gb": (4, (0, 4)),
        "4g.20gb": (4, (0,)),
        "7g.40gb": (8, (0,)),
    },
    A30[0]: {"1g.6gb": (1, (0, 1, 2, 3)), "2g.12gb": (2, (0, 2)), "4g.24gb": (4, (0,))},
}


def prepare(organizations: int) -> dict[str, Any]:
    """Two nodes on one segment, and organizations whose quotas together are more than there is. Gives their tokens."""
    tokens = []
    for _ in range(organizations):
        organization = OrganizationFactory(quota_vms=10, quota_vcpus=30, quota_gpus=2, quota_mig_instances=6)
        tokens.append(issue(UserFactory(organization=organization)).access)
    big, small = NodeFactory(cap_vcpus=64), NodeFactory(cap_vcpus=48)
    for node, models in ((big, (A100, A100, A30)), (small, (A100, A30))):
        for number, (model, memory_mb) in enumerate(models):
            GpuFactory(node=node, device_id=f"GPU-{number}", model=model, memory_mb=memory_mb)
    return {"tokens": tokens, "nodes": {big.id: 3, small.id: 2}}


def watch(seconds: float) -> dict[str, Any]:
    """Look again and again while others work, and once when the time is up. Gives how often, and what was found."""
    looks, found = 0, []
    until = time.monotonic() + seconds
    while True:
        last = time.monotonic() > until
        found += faults()
        looks += 1
        if last:
            return {"looks": looks, "found": found}
        time.sleep(0.3)


@atomic
def faults() -> list[str]:
    """All that must never be, in one moment."""
    see_one_moment()
    vms = list(VirtualMachine.objects.filter(deleted_at=None).select_related("node"))
    found = [str(difference) for difference in recount()]
    found += [fault for vm in vms for fault in _faults_of(vm)]
    holders: dict[str, list[str]] = defaultdict(list)
    for vm in vms:
        for thing in _things(vm):
            holders[thing].append(vm.id)
    found += [f"{thing} has the holders {ids}" for thing, ids in holders.items() if len(ids) > 1]
    if Claim.objects.count() != len(holders):
        found.append(f"{Claim.objects.count()} claims for {len(holders)} things that are held")
    return found + _over_the_limits()


def left() -> dict[str, int]:
    """What nodes and organizations have given out, and claims: nothing is left when all is deleted."""
    counted: Counter[str] = Counter(claims=Claim.objects.count())
    for row in (*Node.objects.all(), *Organization.objects.all()):
        for field in type(row)._meta.fields:
            if field.name.startswith("used_"):
                counted[field.name] += getattr(row, field.name)
    return dict(counted)


def _faults_of(vm: VirtualMachine) -> list[str]:
    """Where a VM was given another thing than it asked for, or one that is not there."""
    gpu = vm.config.gpu_config
    allocated = list(vm.allocated_gpu)
    if gpu is None or not gpu.enabled:
        right = allocated == []
    elif gpu.mode == "passthrough":
        right = allocated == list(gpu.device_ids or ())
    else:
        right = len(allocated) == 1 and _is_placed(vm, allocated[0], gpu.mig_profile)
    return [] if right else [f"{vm.id} wants {gpu} and was given {allocated}"]


def _is_placed(vm: VirtualMachine, instance: str, profile: str | None) -> bool:
    device, given, start = instance.split(":")
    placements = PLACEMENTS[_models(vm.node)[device]]
    return given == profile and given in placements and int(start) in placements[given][1]


def _things(vm: VirtualMachine) -> list[str]:
    """The slices and the address that its document says it has."""
    models = _models(vm.node)
    things = []
    for text in vm.allocated_gpu:
        device, _, instance = text.partition(":")
        if instance:
            profile, start = instance.split(":")
            taken = range(int(start), int(start) + PLACEMENTS[models[device]][profile][0])
        else:
            taken = range(SLICES[models[device]])
        things += [f"{vm.node.name} {device} slice {number}" for number in taken]
    network = vm.config.network_config
    if network.ip_address:
        things.append(f"{vm.node.segment} {network.vlan_id} {network.ip_address}")
    return things


def _models(node: Node) -> dict[str, str]:
    return dict(node.gpus.values_list("device_id", "model"))


def _over_the_limits() -> list[str]:
    found = []
    for node in Node.objects.all():
        pairs = (
            (node.used_vcpus, node.cap_vcpus),
            (node.used_ram_mb, node.cap_ram_mb),
            (node.used_disk_gb, node.cap_disk_gb),
        )
        found += [f"{node.name}: {used} of {capacity}" for used, capacity in pairs if used > capacity]
    for row in Organization.objects.all():
        for name in ("vms", "vcpus", "ram_mb", "disk_gb", "gpus", "mig_instances"):
            used, quota = getattr(row, f"used_{name}"), getattr(row, f"quota_{name}")
            if used > quota:
                found.append(f"{row.name}: {used} of {quota} {name}")
    return found
