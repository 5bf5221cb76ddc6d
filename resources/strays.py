"""What lies on a node that no VM or image of ours accounts for. It is told to operators, and never touched.

`unseen` says what could not be looked at. `foreign` are domains that are not ours. `orphans` are named as a VM's would
be, by its id, and there is no such VM: it was forgotten while its node was lost, or the database is older than the
node. `elsewhere` are of VMs that are on another node, by its name: both may be one hypervisor. `diskless` are VMs whose
disk is gone. `images` are volumes of images that were imported anew or removed since. No more of each than `MOST` are
kept; `cut` then stands for the domains that are not.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db.models import Q
from django.utils import timezone
from pydantic import ValidationError

from common.db import atomic
from nodes import devices
from nodes.images import unkept_among
from nodes.lost import Forgotten
from nodes.models import Node
from resources.models import VirtualMachine
from vmbackends.base import Observation

log = logging.getLogger(__name__)

MOST = 100
# What a task has just put there or taken away may be seen as it was the moment before.
SETTLES_IN = timedelta(seconds=60)


def note(node: Node, seen: Observation) -> None:
    """Keep what was seen, and say so where it is news. Of volumes that could not be seen the last word is kept."""
    if not seen.volumes_seen:
        images, diskless = (tuple(node.strays.get(name, ())) for name in ("images", "diskless"))
        seen = replace(seen, unasked=_with_volumes(node, seen.unasked), images=images, diskless=diskless)
    _keep(node, _found(node, seen))
    if node.to_compare:
        devices.look_soon(node, _gone(node, seen))


def note_unseen(node: Node, reason: str) -> None:
    """The node answered, and could not be looked at."""
    _keep(node, {**node.strays, "unseen": [reason]})


def _keep(node: Node, found: dict[str, Any]) -> None:
    if found == node.strays:
        return
    look = not node.to_compare and _domains(found) != _domains(node.strays)
    unseen = node.strays.get("unseen")
    node.strays = found
    _write(node, look)
    if found.get("unseen", unseen) != unseen:
        log.warning("not all of a node could be seen", extra={"node": node.name, "reason": " ".join(found["unseen"])})
    if found.keys() - {"unseen", "diskless"}:
        log.warning("a node has what no VM or image accounts for", extra={"node": node.name, **_counts(found)})
    if "diskless" in found:
        log.warning("disks of VMs are gone", extra={"node": node.name, "vms": found["diskless"]})


@atomic
def _write(node: Node, look: bool) -> None:
    Node.objects.filter(pk=node.pk).update(strays=node.strays)
    if look:
        devices.look_soon(node)


def _with_volumes(node: Node, unasked: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """And the volumes that were seen of strays before."""
    found = dict(unasked)
    for vm_id, names in chain.from_iterable(group.items() for group in _groups(node.strays)):
        volumes = [name for name in names if name != f"vm-{vm_id}"]
        if volumes:
            found[vm_id] = (*found.get(vm_id, ()), *volumes)
    return found


def vms_on(node: Node) -> set[str]:
    """The ids of those that have, or had a moment ago, something on this node."""
    there = Q(deployed=True) | Q(updated_at__gte=timezone.now() - SETTLES_IN, forgotten=False)
    return set(VirtualMachine.objects.filter(there, node=node).values_list("id", flat=True))


def forgotten_on(node: Node) -> list[Forgotten]:
    """What those had that were forgotten there, the last first."""
    found = []
    for vm in VirtualMachine.objects.filter(node=node, forgotten=True).order_by("-updated_at"):
        gpus = [device.partition(":")[0] for device in vm.allocated_gpu]
        try:
            network = vm.config.network_config
        except ValidationError:  # of an older release: the node is to be taken back all the same
            log.exception("the address of a forgotten VM cannot be held", extra={"vm": vm.id})
            found.append(Forgotten(vm.domain_name, 0, None, gpus))
        else:
            found.append(Forgotten(vm.domain_name, network.vlan_id or 0, network.ip_address, gpus))
    return found


def _gone(node: Node, seen: Observation) -> list[str]:
    """The ids of those that were forgotten there before it was looked at, and of which nothing was seen."""
    if not seen.volumes_seen:
        return []
    forgotten = VirtualMachine.objects.filter(node=node, forgotten=True).order_by().values_list("id", flat=True)
    return [vm_id for vm_id in forgotten if vm_id not in seen.unasked and vm_id not in seen.domains]


def found_gone(vm_ids: Collection[str]) -> None:
    VirtualMachine.objects.filter(pk__in=vm_ids).update(forgotten=False)


def _found(node: Node, seen: Observation) -> dict[str, Any]:
    known = vms_on(node) if seen.unasked else ()
    orphans = {vm_id: list(names) for vm_id, names in sorted(seen.unasked.items()) if vm_id not in known}
    elsewhere = _elsewhere(node, orphans)
    found: dict[str, Any] = {}
    if seen.faults:
        found["unseen"] = list(seen.faults)
    if seen.foreign:
        found["foreign"] = list(seen.foreign[:MOST])
    if orphans:
        found["orphans"] = dict(list(orphans.items())[:MOST])
    if elsewhere:
        found["elsewhere"] = {name: dict(list(vms.items())[:MOST]) for name, vms in elsewhere.items()}
    if diskless := _diskless(node, seen.diskless):
        found["diskless"] = diskless[:MOST]
    if images := unkept_among(seen.images):
        found["images"] = images[:MOST]
    more = [*seen.foreign[MOST:]]
    for vms in (orphans, *elsewhere.values()):
        more += [f"{vm_id} {names}" for vm_id, names in list(vms.items())[MOST:]]
    if more:
        found["cut"] = hashlib.sha256("\n".join(more).encode()).hexdigest()
    return found


def _diskless(node: Node, seen: Collection[str]) -> list[str]:
    """Those of these that are to have a disk, and to which nothing has been done since they were seen without."""
    settled = VirtualMachine.objects.alive().filter(
        deployed=True, task=None, updated_at__lt=timezone.now() - SETTLES_IN
    )
    return sorted(settled.filter(pk__in=seen, node=node).values_list("id", flat=True)) if seen else []


def _elsewhere(node: Node, orphans: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Those of these whose VM is on another node, by its name. They are no orphans, and taken from among them."""
    others = VirtualMachine.objects.filter(pk__in=list(orphans), deployed=True).exclude(node=node).order_by("pk")
    found: dict[str, dict[str, list[str]]] = {}
    for vm_id, name in others.values_list("id", "node__name"):
        found.setdefault(name, {})[vm_id] = orphans.pop(vm_id)
    return found


def _domains(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of it changes when other domains are there."""
    ours = [vm_id for group in _groups(found) for vm_id, names in group.items() if f"vm-{vm_id}" in names]
    return found.get("foreign"), sorted(ours), found.get("cut")


def _groups(found: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """What is named as of VMs, of each kind by the VM's id."""
    return [found.get("orphans", {}), *found.get("elsewhere", {}).values()]


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: len(things) for name, things in found.items() if name != "cut"}
