"""What users do to tasks."""

from django.db.models import QuerySet

from accounts import audit
from accounts.actors import Actor
from common.db import atomic
from common.errors import NotFound
from common.ids import strip_prefix
from tasks import queue
from tasks.models import Task


def visible_tasks(actor: Actor) -> QuerySet[Task]:
    return Task.objects.all() if actor.is_operator else Task.objects.filter(org_id=actor.org_id)


def find_task(actor: Actor, public_id: str) -> Task:
    """Raises NotFound, also for another organization's."""
    task_id = strip_prefix(public_id, "task")
    task = visible_tasks(actor).filter(pk=task_id).first() if task_id else None
    if task is None:
        raise NotFound("There is no such task")
    return task


@atomic
def cancel_task(actor: Actor, public_id: str) -> Task:
    """Call off a task that no worker has begun. Raises NotFound, Forbidden, Conflict."""
    task = find_task(actor, public_id)
    actor.require_write()
    cancelled = queue.cancel(task.id)
    audit.record(
        actor, "task.cancel", object_type="task", object_id=task.id, org_id=task.org_id, root_id=task.subject_id,
        before={"status": task.status}, after={"status": cancelled.status},
    )  # fmt: skip
    return cancelled
