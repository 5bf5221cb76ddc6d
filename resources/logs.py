"""A VM's log: what the platform did with it, and what its guest says where that can be had at once."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any, Literal

from django.conf import settings
from django.utils import timezone

from common.errors import FieldError, ValidationFailed
from common.paging import parameter_faults
from common.times import isoformat
from nodes.queries import node_ref
from resources import guest_console
from resources.models import LogEntry, VirtualMachine
from resources.specs import vm_spec
from resources.states import Status
from vmbackends import get_backend
from vmbackends.base import LogLine
from vmbackends.errors import BackendError

log = logging.getLogger(__name__)

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_PARAMETERS = {"limit", "level", "since", "format"}
_LONGEST = 1000
_NUMBER = re.compile(r"[0-9]{1,6}")
_SOME = 1000  # entries that one statement removes


@dataclass(frozen=True)
class LogQuery:
    """What a caller wants to read. `level` None is all of them."""

    limit: int = DEFAULT_LIMIT
    level: str | None = None
    since: datetime | None = None
    format: Literal["json", "text"] = "json"


# Writing


def record(vm_id: str, level: str, message: str, at: datetime | None = None) -> None:
    """Write one line, in the transaction around if there is one."""
    record_many(vm_id, [LogLine(at or timezone.now(), level, message)])


def record_many(vm_id: str, lines: Iterable[LogLine]) -> None:
    LogEntry.objects.bulk_create(
        LogEntry(vm_id=vm_id, at=line.timestamp, level=_level(line.level), message=_one_line(line.message))
        for line in lines
    )


def record_each(vm_ids: Iterable[str], level: str, message: str) -> None:
    """Write one line to the log of each."""
    now, level, message = timezone.now(), _level(level), _one_line(message)
    LogEntry.objects.bulk_create(LogEntry(vm_id=vm_id, at=now, level=level, message=message) for vm_id in vm_ids)


def _level(level: str) -> str:
    if level not in LEVELS:
        raise ValueError(f"A log line is {', '.join(LEVELS)}, not {level!r}")
    return level


def _one_line(message: str) -> str:
    """No control characters: a message that holds a node's or user's words must not look like two."""
    tidy = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return tidy if len(tidy) <= _LONGEST else f"{tidy[: _LONGEST - 1]}…"


# Reading


def read(
    vm: VirtualMachine, limit: int = DEFAULT_LIMIT, level: str | None = None, since: datetime | None = None
) -> list[LogLine]:
    """The newest `limit` lines of that level since then, oldest first."""
    lines = merge(_of_platform(vm, limit, level, since), _of_guest(vm, level, since), key=lambda line: line.timestamp)
    return list(lines)[-limit:]


def _of_platform(vm: VirtualMachine, limit: int, level: str | None, since: datetime | None) -> list[LogLine]:
    entries = LogEntry.objects.filter(vm_id=vm.id)
    if level is not None:
        entries = entries.filter(level=level)
    if since is not None:
        entries = entries.filter(at__gte=since)
    newest = entries.order_by("-at", "-id").values_list("at", "level", "message")[:limit]
    return [LogLine(*row) for row in reversed(newest)]


def _of_guest(vm: VirtualMachine, level: str | None, since: datetime | None) -> list[LogLine]:
    found = _computed(vm, since) if get_backend().capabilities.local_reads else guest_console.lines(vm, since)
    return [line for line in found if level is None or line.level == level]


def _computed(vm: VirtualMachine, since: datetime | None) -> Sequence[LogLine]:
    if vm.status not in (Status.DEPLOYING, Status.RUNNING):
        return []
    try:
        return get_backend().guest_log(node_ref(vm.node), vm_spec(vm), since, MAX_LIMIT)
    except BackendError as e:
        log.info("no guest log", extra={"vm": vm.id, "node": vm.node.name, "reason": e.message})
        return []


def parse_query(params: Mapping[str, str]) -> LogQuery:
    """Raises ValidationFailed with every fault of the query string."""
    faults = parameter_faults(params, _PARAMETERS)
    limit = params.get("limit", str(DEFAULT_LIMIT))
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MAX_LIMIT:
        faults.append(FieldError("limit", "invalid", f"Must be a whole number from 1 to {MAX_LIMIT}"))
    level = params.get("level")
    if level is not None and level not in LEVELS:
        faults.append(FieldError("level", "enum", f"Must be one of {', '.join(LEVELS)}"))
    since = None
    if "since" in params:
        since = _moment(params["since"])
        if since is None:
            faults.append(
                FieldError("since", "invalid", "Must be a time in ISO 8601, such as 2025-12-03T10:05:00.000Z")
            )
    as_format = params.get("format", "json")
    if as_format not in FORMATS:
        faults.append(FieldError("format", "enum", f"Must be one of {', '.join(FORMATS)}"))
    if faults:
        raise ValidationFailed(faults)
    return LogQuery(int(limit), level, since, "text" if as_format == "text" else "json")


def _moment(text: str) -> datetime | None:
    """A time without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def as_document(vm: VirtualMachine, lines: Sequence[LogLine]) -> dict[str, Any]:
    return {
        "resourceId": vm.id,
        "logs": [
            {"timestamp": isoformat(line.timestamp), "level": line.level, "message": line.message} for line in lines
        ],
    }


def as_text(lines: Sequence[LogLine]) -> str:
    """`2025-12-03T10:05:00.000Z INFO  VM started successfully`, a line each."""
    return "".join(f"{isoformat(line.timestamp)} {line.level.upper():<5} {line.message}\n" for line in lines)


# Periodic


def purge() -> None:
    """Remove entries older than `LOG_DAYS`, a thousand at a time, so that no other writer waits long."""
    old = LogEntry.objects.filter(at__lt=timezone.now() - timedelta(days=settings.LOG_DAYS))
    while ids := list(old.order_by().values_list("id", flat=True)[:_SOME]):
        LogEntry.objects.filter(pk__in=ids).delete()
