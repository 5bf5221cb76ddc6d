"""Reads of VMs: one query for a document, two for a list, at any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import Count, Q, QuerySet

from accounts.actors import Actor
from common.db import one_or_none
from common.errors import FieldError, NotFound, ValidationFailed
from common.ids import is_object_id
from common.paging import Page, pagination_document, parse_page
from resources.documents import COLUMNS, VmRow, list_document
from resources.models import VirtualMachine
from resources.states import Status

Row = TypeVar("Row")

# VMs that are counted in a few milliseconds: from here on an operator's statistics are kept.
MANY = 10_000
SORT_FIELDS = {"createdAt": "created_at", "updatedAt": "updated_at", "name": "name", "status": "status"}
# Made once: with all their columns they take longer to put together than to be asked.
_ALIVE = VirtualMachine.objects.filter(deleted_at=None)
_WITH_NODE = _ALIVE.select_related("node", "organization")
_HELD = _WITH_NODE.select_for_update(of=("self",))
_IDS = _ALIVE.values_list("id")
_ROWS = _ALIVE.values_list(*COLUMNS)
_COUNTED = _ALIVE.order_by().values_list("status").annotate(number=Count("*"))
_PARAMETERS = {"resourceType", "status", "nodeId", "search", "page", "limit", "sortBy", "sortOrder"}


@dataclass(frozen=True)
class ListQuery:
    """What a list asks for. `statuses` empty is all of them."""

    page: Page
    statuses: tuple[Status, ...]
    node_id: str | None
    search: str
    order_by: tuple[str, str]


def parse_list_query(params: Mapping[str, str]) -> ListQuery:
    """Raises ValidationFailed with every fault of the query string."""
    faults: list[FieldError] = []
    page = Page()
    try:
        page = parse_page(params, _PARAMETERS)
    except ValidationFailed as e:
        faults.extend(e.errors)
    if params.get("resourceType", "virtual-machine") != "virtual-machine":
        faults.append(FieldError("resourceType", "enum", "Must be virtual-machine"))
    statuses = []
    for word in filter(None, params.get("status", "").split(",")):
        if word in set(Status):
            statuses.append(Status(word))
        else:
            faults.append(FieldError("status", "enum", f"Must be one or more of {', '.join(Status)}"))
    node_id = params.get("nodeId")
    if node_id is not None and not is_object_id(node_id):
        faults.append(FieldError("nodeId", "pattern", "Must be an id of 24 hex digits"))
    search = params.get("search", "")
    if "\x00" in search or len(search) > 200:
        faults.append(FieldError("search", "invalid", "Must be at most 200 characters, without control characters"))
    sort_by = params.get("sortBy", "createdAt")
    if sort_by not in SORT_FIELDS:
        faults.append(FieldError("sortBy", "enum", f"Must be one of {', '.join(SORT_FIELDS)}"))
    sort_order = params.get("sortOrder", "desc")
    if sort_order not in ("asc", "desc"):
        faults.append(FieldError("sortOrder", "enum", "Must be asc or desc"))
    if faults:
        raise ValidationFailed(faults)
    sign = "-" if sort_order == "desc" else ""
    return ListQuery(page, tuple(dict.fromkeys(statuses)), node_id, search, (sign + SORT_FIELDS[sort_by], sign + "id"))


def visible(actor: Actor) -> QuerySet[VirtualMachine]:
    """The VMs that this caller may know of."""
    return _seen_by(actor, _ALIVE)


def _seen_by(actor: Actor, vms: QuerySet[VirtualMachine, Row]) -> QuerySet[VirtualMachine, Row]:
    return vms.all() if actor.is_operator else vms.filter(organization_id=actor.org_id)


def list_page(actor: Actor, query: ListQuery) -> dict[str, Any]:
    """The list's whole answer. The total comes out of the statistics' one GROUP BY, so that it costs no query."""
    wanted = Q(node_id=query.node_id) if query.node_id else Q()
    if query.search:
        wanted &= (
            Q(name__icontains=query.search)
            | Q(description__icontains=query.search)
            | Q(ip_address__icontains=query.search)
        )
    by_status = _statistics(actor, query, wanted)
    if query.statuses:
        wanted &= Q(status__in=query.statuses)
    total = sum(by_status[status] for status in query.statuses or Status)
    rows = _seen_by(actor, _ROWS).filter(wanted).order_by(*query.order_by)[query.page.offset : query.page.end]
    return {
        "data": [list_document(VmRow(*row)) for row in rows],
        "pagination": pagination_document(total, query.page),
        "statistics": {"byStatus": by_status},
    }


def _statistics(actor: Actor, query: ListQuery, wanted: Q) -> dict[str, int]:
    """How many VMs there are of each status. An operator's may be 5 s old where there are very many to count."""
    key = f"vm-statistics:{query.node_id or 'all'}"
    may_be_old = actor.is_operator and not query.search
    kept: dict[str, int] | None = cache.get(key) if may_be_old else None
    if kept is not None:
        return kept
    by_status = {str(status): 0 for status in Status} | dict(_seen_by(actor, _COUNTED).filter(wanted))
    if may_be_old and sum(by_status.values()) >= MANY:
        cache.set(key, by_status, timeout=5)
    return by_status


def deployed_of(os_image: str) -> int:
    """How many VMs of this image stand on nodes."""
    return _ALIVE.filter(os_image=os_image, deployed=True).count()


def find_row(actor: Actor, vm_id: str) -> VmRow:
    """One query. Raises NotFound, the same for what is not there and for what is another organization's."""
    return VmRow(*_find(actor, _ROWS, vm_id))


def require_known(actor: Actor, vm_id: str) -> None:
    """Raises NotFound unless this caller may know of the VM."""
    _find(actor, _IDS, vm_id)


def find_vm(actor: Actor, vm_id: str, *, hold: bool = False) -> VirtualMachine:
    """The row with its node and organization, for what needs more than a document. Raises NotFound.

    Held, nobody else changes it before this transaction ends: those who come to the same row wait for each other.
    """
    return _find(actor, _HELD if hold else _WITH_NODE, vm_id)


def _find(actor: Actor, vms: QuerySet[VirtualMachine, Row], vm_id: str) -> Row:
    row = one_or_none(_seen_by(actor, vms).filter(pk=vm_id)) if is_object_id(vm_id) else None
    if row is None:
        raise NotFound("There is no such VM")
    return row
