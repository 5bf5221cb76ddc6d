"""Times as the API shows them: UTC, ISO 8601, milliseconds and `Z`."""

from datetime import UTC, datetime
from functools import lru_cache


# The same moments are shown again and again: a list has its nodes' last sweep in every row, and is asked for anew.
@lru_cache(maxsize=8192)
def isoformat(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def isoformat_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else isoformat(moment)
