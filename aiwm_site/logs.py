"""Log lines: one JSON object a line, each with the id of the request that it belongs to."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

from common.times import isoformat

request_id_var: ContextVar[str] = ContextVar("request_id", default="-")

# What Django attaches to its records for handlers of its own: whole request objects and sockets.
_DROPPED = ("request", "server_time", "request_id")
_STANDARD = frozenset((*RESERVED_ATTRS, *_DROPPED, "asctime", "message"))


def current_request_id() -> str:
    """The id of the request being served, or `-` outside of one."""
    return request_id_var.get()


class RequestIdFilter(logging.Filter):
    """Gives each record `request_id`, for formatters to show."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id()
        return True


class RefusalFilter(logging.Filter):
    """Takes the traceback from records of requests that were refused: where a 403 or a 404 was raised is no fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True


class JsonFormatter(BaseJsonFormatter):
    """One line a record, whatever is in it: line breaks and control characters come out escaped."""

    def __init__(self) -> None:
        super().__init__(reserved_attrs=[*RESERVED_ATTRS, *_DROPPED])

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = isoformat(datetime.fromtimestamp(record.created, UTC))
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.message
        log_data["requestId"] = getattr(record, "request_id", "-")
        extras: dict[str, Any] = {}
        super().add_fields(extras, record, message_dict)
        exception = extras.pop("exc_info", None)
        extras.pop("message", None)  # the format string of the base class asks for it
        # An extra that has the name of a standard member must not take its place.
        log_data.update({(f"extra_{key}" if key in log_data else key): value for key, value in extras.items()})
        if exception:
            log_data["exception"] = exception


class PlainFormatter(logging.Formatter):
    """For eyes: the message, and behind it by name what else the record has and the message does not say."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        more = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        untold = [f"{name}={value!r}" for name, value in more.items() if str(value) not in record.message]
        return " ".join([super().formatMessage(record), *untold])
