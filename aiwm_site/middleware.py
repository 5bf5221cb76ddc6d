"""What stands around every request: its id, its log line, its size."""

import logging
import re
import secrets
import time
from collections.abc import Callable
from io import BytesIO

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from rest_framework.permissions import SAFE_METHODS

from aiwm_site import attempts, errors, request_metrics
from aiwm_site.logs import request_id_var

log = logging.getLogger("aiwm.access")

GetResponse = Callable[[HttpRequest], HttpResponseBase]

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class RequestIdMiddleware:
    """The outermost: every answer, errors of other middleware too, leaves through here.

    It gives the request its id, turns what is an error and no problem document into one, and writes one log line.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        asked = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else new_request_id()
        request.request_id = request_id  # type: ignore[attr-defined]
        token = request_id_var.set(request_id)
        try:
            response = errors.as_problem(request, self.get_response(request))
            response["X-Request-Id"] = request_id
            seconds = time.perf_counter() - began
            _write_line(request, response.status_code, seconds * 1000)
            request_metrics.observe(request, response.status_code, seconds)
            # Else Django says the same of each error once more, after the id is gone.
            response._has_been_logged = True  # type: ignore[attr-defined]
            if request.method == "HEAD" and isinstance(response, HttpResponse):
                response.content = b""  # gunicorn would drop it too, with a warning for each
            return response
        finally:
            request_id_var.reset(token)


def new_request_id() -> str:
    """32 hex digits that sort by time, laid out as UUID version 7: https://www.rfc-editor.org/rfc/rfc9562#section-5.7"""
    random = secrets.randbits(74)
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{value:032x}"


def _write_line(request: HttpRequest, status: int, duration_ms: float) -> None:
    # No query string and no body: either may hold a token.
    path = escape_uri_path(request.path)
    log.info(
        "%s %s %d",
        request.method,
        path,
        status,
        extra={
            "method": request.method,
            "path": path,
            "status": status,
            "duration_ms": round(duration_ms, 1),
            "user_id": _user_id(request),
        },
    )


def _user_id(request: HttpRequest) -> str | None:
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):  # of the session; asking it would read the database for a log line
        user = request.__dict__.get("_cached_user")
    return getattr(user, "pk", None)


class AdminNulMiddleware:
    """Refuses a NUL in what the admin asks the database for unchecked, be it an address, a cookie or a form: PostgreSQL
    has no such texts. The API's own paths and parameters are checked where they are read."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if errors.is_admin_page(request) and _asks_for_nul(request):
            return errors.bad_request(request)
        return self.get_response(request)


def _asks_for_nul(request: HttpRequest) -> bool:
    if "\0" in request.path_info or "%00" in request.META["QUERY_STRING"]:
        return True
    if any("\0" in value for value in request.COOKIES.values()):
        return True
    return any("\0" in value for _, values in request.POST.lists() for value in values)


class AdminOutsidersMiddleware:
    """Keeps in the audit trail that somebody who is logged in and no operator posted to the admin, which leads them to
    its log-in like a stranger. It stands below what finds out who they are and whether the form is one of ours."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> None:
        if not errors.is_admin_page(request) or request.method in SAFE_METHODS:
            return
        match = request.resolver_match
        if match is None or match.url_name in ("login", "logout"):
            return
        if request.user.is_authenticated and not admin.site.has_permission(request):
            attempts.record_page(request, errors.of_status(403).data)


class BodyLimitMiddleware:
    """Refuses a body over `MAX_BODY_BYTES` before it is read. The admin's forms have Django's own limit."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if errors.is_admin_page(request):
            return self.get_response(request)
        stated = request.META.get("CONTENT_LENGTH")
        if stated:
            if len(stated) > 12 or (stated.isdecimal() and int(stated) > settings.MAX_BODY_BYTES):
                return _too_large(request)
        elif request.META.get("HTTP_TRANSFER_ENCODING"):
            refusal = _take_in_chunked(request)
            if refusal is not None:
                return refusal
        return self.get_response(request)


def _take_in_chunked(request: HttpRequest) -> HttpResponseBase | None:
    """Read a body that states no length, up to the limit, and state it: Django would take it for empty."""
    environ = request.META
    if not environ.get("wsgi.input_terminated"):
        return errors.problem("malformed", "Send the body with a Content-Length; this server takes no chunks.")
    source = environ["wsgi.input"]
    parts: list[bytes] = []
    size = 0
    while part := source.read(min(65_536, settings.MAX_BODY_BYTES + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > settings.MAX_BODY_BYTES:
            return _too_large(request)
    environ["CONTENT_LENGTH"] = str(size)
    request._stream = BytesIO(b"".join(parts))
    return None


def _too_large(request: HttpRequest) -> HttpResponseBase:
    problem = errors.problem("too_large", f"The body may have {settings.MAX_BODY_BYTES:,} bytes at most.")
    attempts.record_unread(request, problem.data)
    return problem
