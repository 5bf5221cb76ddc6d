"""The task as the API shows it."""

from typing import Any, Literal

from pydantic import BaseModel

from common.times import isoformat, isoformat_or_none
from tasks.models import Task


class TaskDocument(BaseModel):
    """For the API's description."""

    taskId: str  # noqa: N815 - the API's own name, as all below
    resourceId: str  # noqa: N815
    type: str
    status: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    progress: int
    message: str
    error: str | None
    createdBy: str | None  # noqa: N815
    createdAt: str  # noqa: N815
    startedAt: str | None  # noqa: N815
    finishedAt: str | None  # noqa: N815


def task_document(task: Task) -> dict[str, Any]:
    return {
        "taskId": task.public_id,
        "resourceId": task.subject_id,
        "type": task.type,
        "status": task.status,
        "progress": task.progress,
        "message": task.message,
        "error": task.error or None,
        "createdBy": task.created_by,
        "createdAt": isoformat(task.created_at),
        "startedAt": isoformat_or_none(task.started_at),
        "finishedAt": isoformat_or_none(task.finished_at),
    }
