"""What the API answers about snapshots, for the OpenAPI document. No answer is built with these models."""

from typing import Annotated, Literal

from pydantic import Field

from common.schemas import Count, Document, ObjectId, SnapshotId, TaskId, Timestamp, absent
from resources.response_models import Accepted


class SnapshotDetails(Document):
    """`size` is bytes. `taskId` stands where a task took it."""

    snapshot_id: SnapshotId
    name: str
    description: str
    created_at: Timestamp
    size: Count
    status: Literal["creating", "completed", "failed"]
    error_message: str = absent(description="Where it failed")
    task_id: TaskId = absent()


class SnapshotList(Document):
    """The newest first."""

    resource_id: ObjectId
    snapshots: list[SnapshotDetails]


class RestoreAccepted(Accepted):
    estimated_time: Annotated[int, Field(ge=0, description="Seconds")]
