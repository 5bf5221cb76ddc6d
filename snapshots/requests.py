"""Bodies of requests about snapshots."""

from typing import Annotated

from pydantic import StringConstraints

from common.validation import NO_CONTROL, NO_CONTROL_BUT_LINES, StrictModel

MESSAGES = {
    ("name", "required"): "Snapshot name is required",
    ("name", "max"): "Name cannot exceed 100 characters",
    ("name", "pattern"): "Name cannot contain control characters, or invisible ones",
    ("description", "max"): "Description cannot exceed 500 characters",
}


class SnapshotBody(StrictModel):
    """The body of `POST /resources/:id/snapshots`."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NO_CONTROL)]
    description: Annotated[str, StringConstraints(max_length=500, pattern=NO_CONTROL_BUT_LINES)] | None = None
