"""The task as the API shows it."""

from datetime import UTC, datetime

import pytest

from common.ids import new_object_id
from resources.response_models import TaskDetails
from tasks.documents import task_document
from tasks.models import Task


def test_it_shows_a_task_that_waits():
    made = datetime(2025, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    task = Task(type="vm-start", subject_id=new_object_id(), created_at=made)
    document = task_document(task)
    assert document == {
        "taskId": f"task-{task.id}",
        "resourceId": task.subject_id,
        "type": "vm-start",
        "status": "pending",
        "progress": 0,
        "message": "",
        "error": None,
        "createdBy": None,
        "createdAt": "2025-01-02T03:04:05.678Z",
        "startedAt": None,
        "finishedAt": None,
    }
    assert list(document) == [field.alias for field in TaskDetails.model_fields.values()]


@pytest.mark.django_db
def test_it_shows_a_task_that_failed(make, script):
    from tasks.worker import drain
    from vmbackends.errors import Refused

    task = make(created_by=new_object_id())
    script.answers["only"] = Refused("No space.")
    drain()
    task.refresh_from_db()
    document = task_document(task)
    assert (document["status"], document["error"], document["createdBy"]) == ("failed", "No space.", task.created_by)
    assert document["startedAt"].endswith("Z")
    assert document["finishedAt"].endswith("Z")
