"""The task as the API shows it."""

from typing import Any

from common.times import isoformat, isoformat_or_none
from tasks.models import Task


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
