"""The audit trail: every change writes one entry, in the transaction of the change."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from accounts.actors import Actor
from accounts.models import AuditEntry
from common.times import isoformat

MASK = "***"
_SECRET = re.compile(r"passw|secret|token|ssh_?private|private_?key|credential", re.IGNORECASE)
_LONGEST_NAME = 150


def record(
    actor: Actor,
    action: str,
    *,
    object_type: str,
    object_id: str,
    org_id: str | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Say that the actor did this. `org_id` is the organization that owns the object. Secrets are masked by name."""
    return AuditEntry.objects.create(
        actor_id=actor.user_id,
        actor_name=actor.username[:_LONGEST_NAME],
        org_id=org_id or None,
        via=actor.via,
        address=actor.address,
        request_id=actor.request_id,
        action=action,
        object_type=object_type,
        object_id=object_id,
        before=None if before is None else masked(before),
        after=None if after is None else masked(after),
    )


def masked(value: Any) -> Any:
    """The same as JSON, with a mask for whatever stands under the name of a secret, at any depth."""
    match value:
        case Mapping():
            return {str(k): MASK if _SECRET.search(str(k)) and v is not None else masked(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [masked(item) for item in value]
        case datetime():
            return isoformat(value)
        case date():
            return value.isoformat()
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
