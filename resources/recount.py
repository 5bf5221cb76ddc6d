"""The counters of nodes and organizations, counted anew from the VMs' rows."""

from collections import Counter
from dataclasses import dataclass

from accounts import audit
from accounts.actors import SYSTEM, Actor
from accounts.models import Organization
from accounts.quotas import Usage
from common.db import atomic, see_one_moment
from nodes.claims import NOBODY, held_for_strays, hold_for_strays
from nodes.models import Claim, Node
from resources.holdings import Wants
from resources.models import VirtualMachine

_ROOM = ("vcpus", "ram_mb", "disk_gb")
_QUOTA = ("vms", "vcpus", "ram_mb", "disk_gb", "gpus", "mig_instances")


@dataclass(frozen=True)
class Difference:
    """A counter that does not say what the rows say, or a claim whose holder holds nothing, or one that is missing."""

    what: str
    stored: int
    counted: int

    def __str__(self) -> str:
        return f"{self.what}: stored {self.stored}, counted {self.counted}"


@atomic
def recount(fix: bool = False, actor: Actor = SYSTEM) -> list[Difference]:
    """Compare every counter with the rows, and with `fix` set it right, also while others change VMs."""
    see_one_moment()
    by_node: dict[str, Counter[str]] = {}
    by_org: dict[str, Counter[str]] = {}
    holders = set()
    for vm in VirtualMachine.objects.all():
        if vm.deleted_at is not None and not vm.deployed:
            continue
        holders.add(vm.id)
        wants = Wants(vm.config, vm.snapshots_gb)
        by_node.setdefault(vm.node_id, Counter()).update({name: getattr(wants.room, name) for name in _ROOM})
        by_org.setdefault(vm.organization_id, Counter()).update(_amounts(wants.usage))
    found: list[Difference] = []
    for node in Node.objects.all():
        found += _compare(node, f"node {node.name}", _ROOM, by_node.get(node.id, Counter()), fix)
    for organization in Organization.objects.all():
        counted = by_org.get(organization.id, Counter())
        found += _compare(organization, f"organization {organization.name}", _QUOTA, counted, fix)
    orphans = Claim.objects.exclude(vm_id__in=[*holders, NOBODY])
    found += [Difference(f"claim {claim.key} of {claim.vm_id}", 1, 0) for claim in orphans]
    held, wanted = held_for_strays()
    found += [
        Difference(f"claim {key} of no VM", int(key in held), int(key in wanted)) for key in sorted(held ^ wanted)
    ]
    if fix:
        orphans.delete()
        hold_for_strays()
    if fix and found:
        before = {difference.what: difference.stored for difference in found}
        after = {difference.what: difference.counted for difference in found}
        audit.record(
            actor, "counters.fix", object_type="counters", object_id="", org_id=None, before=before, after=after
        )
    return found


def _amounts(usage: Usage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in _QUOTA}


def _compare(
    row: Node | Organization, what: str, names: tuple[str, ...], counted: Counter[str], fix: bool
) -> list[Difference]:
    found = [
        Difference(f"{what}, {name}", getattr(row, f"used_{name}"), counted[name])
        for name in names
        if getattr(row, f"used_{name}") != counted[name]
    ]
    if found and fix:
        for name in names:
            setattr(row, f"used_{name}", counted[name])
        row.save(update_fields=[f"used_{name}" for name in names])
    return found
