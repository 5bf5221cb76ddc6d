"""The audit trail: every change writes one entry, in the transaction of the change; every refusal one, outside of it.

Refusals are counted, so that whoever is refused a million times does not fill the database: those alike in one minute
are one row with a `count`. Alike are those of one user to one object with one code, and of nobody known those of one
kind from one address (an IPv6 client has a /64 to choose from).
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

from django import db
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.actors import SYSTEM, Actor
from accounts.models import AuditEntry, Outcome
from common.addresses import counted_as
from common.counters import MINUTE_S, count
from common.errors import DomainError
from common.times import isoformat

log = logging.getLogger(__name__)

MASK = "***"
_SECRET = re.compile(r"passw|secret|token|ssh_?private|private_?key|credential", re.IGNORECASE)
_LONGEST_NAME = 150
_LONGEST_DETAIL = 300

# The first so many of a minute are written one by one, and from there on in such steps: the count of a flood is right
# to within a step of each process, and costs a hundredth of the writes.
_EXACT = 10
_STEP = 100
# So many different rows a minute are written for one user, or for all of whom nobody is known; what is above is one.
MOST_ROWS_OF_USER = 60
MOST_ROWS_OF_STRANGERS = 600
MANY = "many"


def record(
    actor: Actor,
    action: str,
    *,
    object_type: str,
    object_id: str,
    org_id: str | None,
    root_id: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Say that the actor did this. `org_id` is the organization that owns the object, `root_id` what the object is
    part of. Secrets are masked by name."""
    entry = _entry(actor, action, object_type, object_id, org_id, root_id)
    entry.before = None if before is None else masked(before)
    entry.after = None if after is None else masked(after)
    entry.save()
    return entry


def refused(
    actor: Actor,
    action: str,
    *,
    code: str,
    detail: str,
    object_type: str,
    object_id: str = "",
    org_id: str | None = None,
    root_id: str | None = None,
) -> None:
    """Say that the actor tried this and was refused. To be called when the attempt's transaction is rolled back.

    It raises nothing: where the database cannot be written the answer is still that of the refusal, and this is logged.
    """
    entry = _entry(actor, action, object_type, object_id, org_id, root_id)
    entry.outcome, entry.code, entry.detail = Outcome.REFUSED, code, detail[:_LONGEST_DETAIL]
    try:
        _count(entry)
    except db.Error:
        log.exception("a refusal could not be recorded", extra={"action": action, "code": code})


@contextmanager
def attempt(
    actor: Actor,
    action: str,
    *,
    object_type: str,
    object_id: str = "",
    org_id: str | None = None,
    root_id: str | None = None,
) -> Iterator[None]:
    """Around a call of an action, where no API's error handler stands above it: its refusal is recorded and raised."""
    try:
        yield
    except DomainError as e:
        refused(
            actor, action, code=e.code, detail=e.message, object_type=object_type, object_id=object_id, org_id=org_id,
            root_id=root_id,
        )  # fmt: skip
        raise


def purge() -> None:
    """Forget what is older than `AUDIT_DAYS`; 0 keeps everything. That it was done stays in the trail."""
    if not settings.AUDIT_DAYS:
        return
    before = timezone.now() - timedelta(days=settings.AUDIT_DAYS)
    with transaction.atomic():
        forgotten = _all().filter(at__lt=before).delete()[0]
        if forgotten:
            after = {"before": before, "entries": forgotten}
            record(SYSTEM, "audit.purge", object_type="audit", object_id="", org_id=None, after=after)


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


def _entry(
    actor: Actor, action: str, object_type: str, object_id: str, org_id: str | None, root_id: str | None
) -> AuditEntry:
    return AuditEntry(
        actor_id=actor.user_id,
        actor_name=actor.username[:_LONGEST_NAME],
        actor_org_id=actor.org_id or None,
        org_id=org_id or None,
        via=actor.via,
        address=actor.address,
        request_id=actor.request_id,
        action=action,
        object_type=object_type,
        object_id=object_id,
        root_id=root_id or object_id,
    )


# Counting


def _count(entry: AuditEntry) -> None:
    """Write the refusal, or count it in the row that there is of its minute."""
    entry.id = _id_of(entry)
    amount = _amount(count(f"audit:{entry.id}"))
    if not amount or _add(entry, amount):
        return
    if entry.action != MANY:
        most = MOST_ROWS_OF_USER if entry.actor_id else MOST_ROWS_OF_STRANGERS
        if count(f"audit:{entry.actor_id}") > most:
            _count(_folded(entry))
            return
    entry.count = amount
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError:  # another process was first
        _add(entry, amount)


def _folded(entry: AuditEntry) -> AuditEntry:
    """The row of this actor and minute for all that is too much to have rows of its own."""
    return AuditEntry(
        actor_id=entry.actor_id,
        actor_name=entry.actor_name,
        actor_org_id=entry.actor_org_id,
        via=entry.via,
        action=MANY,
        outcome=entry.outcome,
        detail="More different refusals in this minute than are written one by one.",
    )


def _add(entry: AuditEntry, amount: int) -> bool:
    """Count so many more in the entry's row; False if there is none."""
    return _all().filter(pk=entry.id).update(count=F("count") + amount) == 1


def _amount(number: int) -> int:
    """How many to write at the nth of a minute."""
    if number <= _EXACT:
        return 1
    if number % _STEP:
        return 0
    return _STEP - _EXACT if number == _STEP else _STEP


def _id_of(entry: AuditEntry) -> str:
    """An object id of the minute and of what makes refusals alike, so that the primary key holds them to one row."""
    by = entry.actor_id or f"{entry.actor_name} {counted_as(entry.address)}"
    alike = (by, entry.via, entry.action, entry.object_type, entry.object_id, entry.code)
    # Keyed, or one could choose names whose digests collide.
    digest = salted_hmac("accounts.audit", "\n".join(alike), algorithm="sha256").hexdigest()
    return f"{_minute() * MINUTE_S:08x}{digest[:16]}"


def _minute() -> int:
    return int(timezone.now().timestamp()) // MINUTE_S


def _all() -> QuerySet[AuditEntry]:
    """The rows without what keeps everybody else from changing them."""
    return QuerySet(AuditEntry)
