"""What was done to a VM and its snapshots, and what was tried in vain: its part of the audit trail."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from accounts.models import AuditEntry, Outcome
from common.errors import NotFound
from common.ids import is_object_id
from common.paging import Page, pagination_document
from common.times import isoformat
from resources.queries import visible


def list_page(actor: Actor, vm_id: str, page: Page) -> dict[str, Any]:
    """The whole answer, newest first, in two queries. Raises NotFound."""
    entries = _shown(actor)
    counted = entries.filter(root_id=OuterRef("pk")).order_by().values("root_id").annotate(number=Count("*"))
    total = None
    if is_object_id(vm_id):
        vms = visible(actor).filter(pk=vm_id)
        number = Coalesce(Subquery(counted.values("number")), 0, output_field=IntegerField())
        total = vms.annotate(number=number).values_list("number", flat=True).first()
    if total is None:
        raise NotFound("There is no such VM")
    rows = entries.filter(root_id=vm_id).order_by("-at", "-id")[page.offset : page.end]
    return {
        "data": [_document(entry, with_address=actor.is_operator) for entry in rows],
        "pagination": pagination_document(total, page),
    }


def _shown(actor: Actor) -> QuerySet[AuditEntry]:
    """Operators see what strangers to the organization tried; its members see what was done, and their own attempts."""
    entries = AuditEntry.objects.all()
    if actor.is_operator:
        return entries
    return entries.filter(Q(outcome=Outcome.DONE) | Q(actor_org_id=actor.org_id))


def _document(entry: AuditEntry, *, with_address: bool) -> dict[str, Any]:
    who = {"username": entry.actor_name}
    document: dict[str, Any] = {
        "eventId": entry.id,
        "timestamp": isoformat(entry.at),
        "actor": {"userId": entry.actor_id, **who} if entry.actor_id else who,
        "via": entry.via,
        "action": entry.action,
        "objectType": entry.object_type,
        "objectId": entry.object_id,
        "outcome": entry.outcome,
        "count": entry.count,
        "before": entry.before,
        "after": entry.after,
        "requestId": entry.request_id,
    }
    if entry.outcome == Outcome.REFUSED:
        document |= {"code": entry.code, "detail": entry.detail}
    if with_address and entry.address:
        document["address"] = entry.address
    return document
