"""What an organization may hold and does hold. `Organization.used_*` is changed here and by the recount, nowhere else.

Each change is one conditional update of all resources, so that two at once never both get the last of one.
"""

import logging
from dataclasses import dataclass, fields
from typing import Any

from django.db.models import Case, F, Value, When

from accounts.models import Organization
from common.db import atomic, whole
from common.errors import Conflict, NotFound, QuotaExceeded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usage:
    """What something holds: VMs, vCPUs, MB of RAM, GB of disk, whole GPUs, MIG instances."""

    vms: int = 0
    vcpus: int = 0
    ram_mb: int = 0
    disk_gb: int = 0
    gpus: int = 0
    mig_instances: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(mine + theirs for mine, theirs in zip(self._amounts(), other._amounts(), strict=True)))

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(*(mine - theirs for mine, theirs in zip(self._amounts(), other._amounts(), strict=True)))

    def _amounts(self) -> list[int]:
        return [getattr(self, name) for name in NAMES]


# The resources, and what the API calls them.
NAMES = tuple(field.name for field in fields(Usage))
API_NAMES = dict(zip(NAMES, ("vms", "vcpus", "ramMB", "diskGB", "gpus", "migInstances"), strict=True))


@atomic
def reserve(org_id: str, usage: Usage) -> None:
    """Count this towards the quota, all of it or nothing. Raises QuotaExceeded."""
    _add(org_id, usage)


@atomic
def change(org_id: str, before: Usage, after: Usage) -> None:
    """Count `after` instead of `before`. What does not grow is allowed above the quota too. Raises QuotaExceeded."""
    growth = after - before
    if growth != Usage():
        _add(org_id, growth, more=True)


@atomic
def count(org_id: str, usage: Usage) -> None:
    """Count what is there already, whatever the quota says."""
    more = {f"used_{name}": F(f"used_{name}") + getattr(usage, name) for name in NAMES}
    Organization.objects.filter(pk=org_id).update(**more)


def give_back(org_id: str, usage: Usage) -> None:
    """Count this no longer. It never fails: books that say less than is given back are put to zero and reported."""
    if usage != Usage():
        _add(org_id, Usage() - usage)


def usage_document(org: Organization) -> dict[str, int]:
    return {API_NAMES[name]: getattr(org, f"used_{name}") for name in NAMES}


def quota_document(org: Organization) -> dict[str, int]:
    return {API_NAMES[name]: getattr(org, f"quota_{name}") for name in NAMES}


def _add(org_id: str, growth: Usage, *, more: bool = False) -> None:
    grows: dict[str, Any] = {}
    shrinks: dict[str, Any] = {}
    added: dict[str, Any] = {}
    for name in NAMES:
        amount = getattr(growth, name)
        if amount:
            added[f"used_{name}"] = then = F(f"used_{name}") + whole(amount)
            if amount > 0:
                grows[f"quota_{name}__gte"] = then
            else:
                shrinks[f"used_{name}__gte"] = -amount
    if not added:
        if not Organization.objects.filter(pk=org_id).exists():
            raise NotFound("There is no such organization.")
        return
    if Organization.objects.filter(pk=org_id, **grows, **shrinks).update(**added):
        return
    if shrinks and Organization.objects.filter(pk=org_id, **grows).update(**_floored(growth)):
        log.error("the usage of an organization was too low; recount it", extra={"org_id": org_id})
        return
    raise _refusal(org_id, growth, more)


def _floored(growth: Usage) -> dict[str, Any]:
    added: dict[str, Any] = {}
    for name in NAMES:
        column, amount = f"used_{name}", getattr(growth, name)
        if amount > 0:
            added[column] = F(column) + amount
        elif amount < 0:
            added[column] = Case(When(**{f"{column}__gte": -amount}, then=F(column) + amount), default=Value(0))
    return added


def _refusal(org_id: str, growth: Usage, more: bool) -> Exception:
    org = Organization.objects.filter(pk=org_id).first()
    if org is None:
        return NotFound("There is no such organization.")
    short = {
        API_NAMES[name]: {"limit": limit, "used": used, "requested": getattr(growth, name)}
        for name in NAMES
        if getattr(growth, name) > 0
        and (used := getattr(org, f"used_{name}")) + getattr(growth, name) > (limit := getattr(org, f"quota_{name}"))
    }
    if not short:
        return Conflict("The usage of your organization changed in this moment. Try again.")
    asked = "more requested" if more else "requested"
    said = "; ".join(
        f"{name}: {numbers['requested']:,} {asked}, {numbers['used']:,} of {numbers['limit']:,} used"
        for name, numbers in short.items()
    )
    return QuotaExceeded(f"The quota of your organization does not allow this. {said}.", short)
