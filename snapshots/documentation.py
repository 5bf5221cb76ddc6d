"""What the OpenAPI document says of each operation on snapshots: the arguments of `@extend_schema`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from common.openapi import IDEMPOTENCY_KEY, IF_MATCH, answer, path_id, replayed
from common.schemas import SNAPSHOT_ID, BodySchema, known_to_all
from common.validation import NOT_BLANK
from resources.documentation import ACT, VM
from resources.examples import TASK_ID, VM_ID
from resources.response_models import Accepted
from snapshots.requests import SnapshotBody
from snapshots.response_models import RestoreAccepted, SnapshotDetails, SnapshotList

_TAGS = ["Snapshots"]

REQUEST_EXAMPLE = {
    "name": "Before GPU Driver Update",
    "description": "Snapshot before updating NVIDIA drivers",
}
EXAMPLE: dict[str, Any] = {
    "snapshotId": "snapshot-675b2c3d4e5f6a7b8c9d0e11",
    **REQUEST_EXAMPLE,
    "createdAt": "2025-12-03T12:00:00.000Z",
    "size": 52428800,
    "status": "completed",
}
LIST_EXAMPLE: dict[str, Any] = {
    "resourceId": VM_ID,
    "snapshots": [
        EXAMPLE,
        {
            "snapshotId": "snapshot-675b2c3d4e5f6a7b8c9d0e12",
            "name": "Clean Install",
            "description": "Right after OS installation",
            "createdAt": "2025-12-02T10:00:00.000Z",
            "size": 15728640,
            "status": "completed",
        },
    ],
}
RESTORE_EXAMPLE: dict[str, Any] = {
    "success": True,
    "message": "Snapshot restore initiated",
    "taskId": TASK_ID,
    "estimatedTime": 160,
}
DELETE_EXAMPLE: dict[str, Any] = {
    "success": True,
    "message": "Snapshot deleted successfully",
    "taskId": TASK_ID,
}


class SnapshotBodySchema(BodySchema):  # type: ignore[no-untyped-call]
    target_class = "snapshots.requests.SnapshotBody"
    match_subclasses = False
    priority = 2  # before the one for every body

    def describe(self) -> dict[str, Any]:
        schema = super().describe()
        schema["properties"]["name"]["pattern"] = known_to_all(NOT_BLANK)
        return schema


_SNAPSHOT = path_id("snapshot_id", SNAPSHOT_ID, "The snapshot's id", EXAMPLE["snapshotId"])

LIST: dict[str, Any] = {
    "operation_id": "listSnapshots",
    "tags": _TAGS,
    "summary": "List the snapshots of a VM",
    "description": "The newest first. `size` is bytes.",
    "parameters": [VM],
    "responses": {200: answer(SnapshotList, "The snapshots", LIST_EXAMPLE)},
}

CREATE: dict[str, Any] = {
    "operation_id": "createSnapshot",
    "tags": _TAGS,
    "summary": "Take a snapshot of a VM",
    "description": "In `running`, with its memory, and in `stopped`. Where it takes time it is `creating`, with a "
    "task. Names are unique within a VM.",
    "parameters": [VM, IF_MATCH, IDEMPOTENCY_KEY, replayed(201)],
    "request": SnapshotBody,
    "responses": {201: answer(SnapshotDetails, "The snapshot", EXAMPLE), **ACT},
    "examples": [OpenApiExample("Before a change", REQUEST_EXAMPLE, request_only=True)],
}

RESTORE: dict[str, Any] = {
    "operation_id": "restoreSnapshot",
    "tags": _TAGS,
    "summary": "Restore a snapshot",
    "description": "All changes after it are lost. The status of the VM stays, and the task shows how far it is. What "
    "cannot work is refused before anything is touched.",
    "parameters": [VM, _SNAPSHOT, IF_MATCH, IDEMPOTENCY_KEY, replayed(202)],
    "request": None,
    "responses": {202: answer(RestoreAccepted, "A task restores it", RESTORE_EXAMPLE), **ACT},
}

DELETE: dict[str, Any] = {
    "operation_id": "deleteSnapshot",
    "tags": _TAGS,
    "summary": "Delete a snapshot",
    "description": "In `running` and `stopped`; one that failed, too.",
    "parameters": [VM, _SNAPSHOT, IF_MATCH],
    "responses": {202: answer(Accepted, "A task deletes it", DELETE_EXAMPLE)},
}
