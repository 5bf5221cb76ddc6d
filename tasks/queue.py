"""The queue: tasks are written, given to workers one at a time, and called off.

A worker takes a task by one conditional update, so that no lock is held and any number of workers share the rows.
All times that decide something are the database's own (`Now()`): the clocks of workers may differ.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from common.db import atomic
from common.errors import Conflict, NotFound
from tasks import wake
from tasks.models import OPEN, Task, TaskStatus
from tasks.registry import registry

SLOTS_PER_NODE = 2
# So many of the oldest are read at a time; those that cannot be taken now are left out by the query itself.
_WINDOW = 20
_LEASE_FREE = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())


def enqueue(
    type: str,  # noqa: A002 - the row's own name for it
    *,
    subject_id: str,
    node_id: str | None,
    org_id: str | None,
    created_by: str | None,
    payload: dict[str, Any] | None = None,
) -> Task:
    """Write a task, in the caller's transaction: workers see it when that ends. KeyError if there is no such type."""
    task = Task.objects.create(
        type=registry.types[type].name,
        subject_id=subject_id,
        node_id=node_id,
        org_id=org_id,
        created_by=created_by,
        payload=payload or {},
    )
    wake.announce()
    return task


@atomic
def cancel(task_id: str) -> Task:
    """Call off a task that no worker has begun, and settle its subject. Raises NotFound, Conflict."""
    task = Task.objects.filter(pk=task_id).first()
    if task is None:
        raise NotFound("Task not found")
    task_type = registry.types.get(task.type)
    if task_type is None or not task_type.cancellable:
        raise Conflict("A task of this kind cannot be cancelled.")
    cancelled = Task.objects.filter(pk=task_id, status=TaskStatus.PENDING, attempt=0).update(
        status=TaskStatus.CANCELLED,
        finished_at=Now(),
        message="Cancelled before it began",
        outcome={"reason": "cancelled", "undone": None},
    )
    task.refresh_from_db()
    if not cancelled:
        raise Conflict(
            "The task has begun and can no longer be cancelled." if task.is_open else "The task has already ended."
        )
    task_type.settle(task)
    return task


@atomic
def abort(task_id: str, *, reason: str, error: str) -> bool:
    """End a task as failed from outside, whoever has it, and settle its subject. False if it had ended already.

    A worker that is at it loses its lease and touches nothing more; what it did on the node stays.
    """
    task = Task.objects.get(pk=task_id)
    task_type = registry.types[task.type]
    aborted = Task.objects.filter(pk=task_id, status__in=OPEN).update(
        status=TaskStatus.FAILED,
        attempt=F("attempt") + 1,
        finished_at=Now(),
        message="Failed",
        error=error,
        outcome={"reason": reason, "undone": False if any(step.undo for step in task_type.steps) else None},
        lease_until=None,
        node_slot=None,
    )
    if aborted:
        task.refresh_from_db()
        task_type.settle(task)
    return bool(aborted)


def take(worker: str, *, ignore_waits: bool = False) -> Task | None:
    """Claim the oldest task that is due for this worker, or None.

    Passed over are tasks of nodes out of reach, until their deadline; of nodes that have their full number of
    tasks; and those that come after an open task of the same subject.
    """
    due = Task.objects.filter(_LEASE_FREE, status__in=OPEN, type__in=list(registry.types))
    if not ignore_waits:
        due = due.filter(Q(not_before__isnull=True) | Q(not_before__lte=Now()))
    if not due.exists():
        return None
    away = list(registry.unreachable_nodes())
    if away:
        _start_deadlines(due.filter(node_id__in=away))
    slots = set(Task.objects.filter(node_slot__isnull=False).values_list("node_slot", flat=True))
    for seen in _takeable(due, away, slots)[:_WINDOW]:
        if _claim(seen, worker, slots, away):
            return Task.objects.get(pk=seen.pk)
    return None


def lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def _start_deadlines(passed_over: QuerySet[Task]) -> None:
    """A task whose node is out of reach is not passed over for ever: its time runs from here."""
    without = passed_over.filter(deadline_at__isnull=True)
    for name in set(without.order_by().values_list("type", flat=True)):
        seconds = registry.types[name].deadline_s
        if seconds is not None:
            without.filter(type=name).update(deadline_at=Now() + timedelta(seconds=seconds))


def _takeable(due: QuerySet[Task], away: Collection[str], slots: Collection[str | None]) -> QuerySet[Task]:
    late = Q(deadline_at__lte=Now())
    if away:
        due = due.filter(late | Q(node_id__isnull=True) | ~Q(node_id__in=away))
    full = _full_nodes(slots)
    if full:  # a task whose worker died still has its slot
        due = due.filter(Q(node_slot__isnull=False) | Q(node_id__isnull=True) | ~Q(node_id__in=full))
    before = Q(created_at__lt=OuterRef("created_at")) | Q(created_at=OuterRef("created_at"), pk__lt=OuterRef("pk"))
    earlier = Task.objects.filter(before, subject_id=OuterRef("subject_id"), status__in=OPEN)
    return due.filter(~Exists(earlier)).order_by("created_at", "pk")


def _full_nodes(slots: Collection[str | None]) -> list[str]:
    nodes = [slot.rpartition(":")[0] for slot in slots if slot]
    return [node for node in set(nodes) if nodes.count(node) >= SLOTS_PER_NODE]


def _claim(seen: Task, worker: str, slots: Collection[str | None], away: Collection[str]) -> bool:
    for slot in _free_slots(seen, slots):
        try:
            return _claim_with(seen, worker, slot, away)
        except IntegrityError:  # another worker took this slot meanwhile
            continue
    return False


def _free_slots(seen: Task, slots: Collection[str | None]) -> list[str | None]:
    if seen.node_id is None:
        return [None]
    if seen.node_slot is not None:
        return [seen.node_slot]
    return [slot for n in range(SLOTS_PER_NODE) if (slot := f"{seen.node_id}:{n}") not in slots]


@atomic
def _claim_with(seen: Task, worker: str, slot: str | None, away: Collection[str]) -> bool:
    if _is_being_claimed(seen):
        return False
    changes: dict[str, Any] = {
        "worker": worker,
        "attempt": F("attempt") + 1,
        "status": TaskStatus.RUNNING,
        "started_at": Coalesce("started_at", Now()),
        "lease_until": Now() + lease(),
        "node_slot": slot,
    }
    deadline_s = registry.types[seen.type].deadline_s
    if deadline_s is not None:
        deadline = Now() + timedelta(seconds=deadline_s)
        # The time that ran while the node was away is over where it is back before anything was tried.
        is_first = seen.attempt == 0 and seen.node_id not in away
        changes["deadline_at"] = deadline if is_first else Coalesce("deadline_at", deadline)
    free = Q(lease_until__isnull=True)
    if seen.lease_until is not None:  # it was not given back: the worker that had it died, or hung
        changes["deaths"] = F("deaths") + 1
        free = Q(lease_until__lt=Now())
    return Task.objects.filter(free, pk=seen.pk, attempt=seen.attempt, status__in=OPEN).update(**changes) == 1


def _is_being_claimed(seen: Task) -> bool:
    """Whether another worker is at it in this moment, where the engine can say so: else we would wait for its end,
    only to learn that the task is taken."""
    if not connection.features.has_select_for_update_skip_locked:
        return False
    return not Task.objects.select_for_update(skip_locked=True).filter(pk=seen.pk).values_list("pk").first()
