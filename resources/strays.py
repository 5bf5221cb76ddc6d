"""What lies on a node that no VM or image of ours accounts for. It is told to operators, and never touched.

`foreign` are domains that are not ours. `orphans` are named as a VM's would be, by its id, and there is no such VM: it
was forgotten while its node was lost, or the database is older than the node. `images` are volumes of images that were
imported anew or removed since.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from common.db import atomic
from nodes import devices, strays
from nodes.images import unkept_among
from nodes.models import Node
from resources.models import VirtualMachine
from vmbackends.base import Observation

log = logging.getLogger(__name__)

MOST = 100
# What a task has just put there or taken away may be seen as it was the moment before.
SETTLES_IN = timedelta(seconds=60)


def note(node: Node, seen: Observation) -> None:
    """Keep what was seen, and say so where it is news."""
    found = _found(seen, _accounted_for(node, seen.unasked))
    if found == node.strays:
        return
    before = strays.domains(node)
    node.strays = found
    _write(node, look=strays.domains(node) != before)
    if found:
        log.warning("a node has what no VM or image accounts for", extra={"node": node.name, **_counts(found)})


@atomic
def _write(node: Node, look: bool) -> None:
    Node.objects.filter(pk=node.pk).update(strays=node.strays)
    if look:
        devices.look_soon(node)


def _accounted_for(node: Node, vm_ids: Collection[str]) -> set[str]:
    """Those of them that have, or had a moment ago, something on this node."""
    if not vm_ids:
        return set()
    there = Q(deployed=True) | Q(updated_at__gte=timezone.now() - SETTLES_IN)
    return set(VirtualMachine.objects.filter(there, pk__in=vm_ids, node=node).values_list("id", flat=True))


def _found(seen: Observation, known: Collection[str]) -> dict[str, Any]:
    orphans = {vm_id: list(names) for vm_id, names in sorted(seen.unasked.items()) if vm_id not in known}
    found: dict[str, Any] = {}
    if seen.foreign:
        found["foreign"] = list(seen.foreign[:MOST])
    if orphans:
        found["orphans"] = dict(list(orphans.items())[:MOST])
    if images := unkept_among(seen.images):
        found["images"] = images[:MOST]
    return found


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: len(things) for name, things in found.items()}
