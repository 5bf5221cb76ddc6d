"""The one place where an error becomes an answer: RFC 9457 problem documents, on every path but the admin's pages."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.template.loader import get_template
from rest_framework import exceptions as drf

from aiwm_site import attempts
from aiwm_site.logs import current_request_id
from common.errors import DomainError, FieldError, NodeUnavailable, Throttled, ValidationFailed
from vmbackends.errors import NodeUnreachable

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
ADMIN_PREFIX = "/admin/"
RETRY_NODE_SECONDS = 30


@dataclass(frozen=True)
class Kind:
    """What every error of one code shares. `detail` stands where nothing closer is known."""

    status: int
    title: str
    detail: str


KINDS: Mapping[str, Kind] = {
    "validation": Kind(400, "Validation failed", "Some fields are wrong."),
    "malformed": Kind(400, "Malformed request", "The request cannot be understood."),
    "not_authenticated": Kind(401, "Not authenticated", "Send an access token: Authorization: Bearer <token>."),
    "token_not_valid": Kind(401, "Token not valid", "The token is not valid or has expired."),
    "forbidden": Kind(403, "Forbidden", "You may not do this."),
    "not_found": Kind(404, "Not found", "Not found"),
    "method_not_allowed": Kind(405, "Method not allowed", "This path does not take this method; see the Allow header."),
    "locked": Kind(409, "Locked", "Another operation is running. Try again when it has finished."),
    "action_not_allowed": Kind(409, "Action not allowed", "The current status does not allow this."),
    "conflict": Kind(409, "Conflict", "Something this needs is taken."),
    "quota_exceeded": Kind(409, "Quota exceeded", "The quota of your organization does not allow this."),
    "unsupported": Kind(409, "Not supported", "This node or virtual machine cannot do this."),
    "precondition_failed": Kind(412, "Precondition failed", "It has changed since you read it. Read it again."),
    "too_large": Kind(413, "Body too large", "The body is larger than this service takes."),
    "unsupported_media_type": Kind(415, "Unsupported media type", "Send the body as application/json in UTF-8."),
    "throttled": Kind(429, "Too many requests", "Too many requests. Try again later."),
    "internal": Kind(500, "Internal error", "Something went wrong on our side. Quote the request id."),
    "not_ready": Kind(503, "Not ready", "The service cannot do its work now."),
    "node_unavailable": Kind(503, "Node unavailable", "The node cannot be reached now. Try again later."),
}
# For answers that come from Django itself, which knows a status and no code.
_CODE_OF_STATUS = {
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "throttled",
    503: "not_ready",
}
# Of a replaced answer these describe its body, which is gone.
_BODY_HEADERS = {
    "content-type", "content-length", "content-disposition", "content-encoding", "content-language", "etag",
    "last-modified", "cache-control",
}  # fmt: skip


class ProblemResponse(HttpResponse):
    """A problem document, written out already: no content negotiation can turn it into something else."""

    def __init__(self, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(document, default=str), content_type=CONTENT_TYPE, status=document["status"])
        self.data = document
        # Some of these leave outside of Django's own middleware that would state it.
        self["Content-Length"] = str(len(self.content))
        self["Cache-Control"] = "no-store"
        for name, value in (headers or {}).items():
            self[name] = value


def problem(
    code: str,
    detail: str = "",
    *,
    errors: Sequence[FieldError] = (),
    extra: Mapping[str, Any] | None = None,
    retry_after_s: float | None = None,
    status: int | None = None,
) -> ProblemResponse:
    """The answer for an error of this code. `extra` are members beside the standard ones, and replace none."""
    kind = KINDS[code]
    document: dict[str, Any] = {
        "type": f"urn:aiwm:error:{code}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": detail or kind.detail,
        "code": code,
        "requestId": current_request_id(),
    }
    if errors:
        document["errors"] = [{"field": e.field, "code": e.code, "message": e.message} for e in errors]
    headers = {}
    if kind.status == 401:
        # https://www.rfc-editor.org/rfc/rfc6750#section-3
        headers["WWW-Authenticate"] = 'Bearer realm="api"' + (
            ', error="invalid_token"' if code == "token_not_valid" else ""
        )
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, ceil(retry_after_s)))
    return ProblemResponse({**document, **{k: v for k, v in (extra or {}).items() if k not in document}}, headers)


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """DRF's handler. None means a bug of ours: it is raised on, Django logs it, and the client sees `internal`.

    It runs when every transaction of the request is over, so that a refusal stays in the audit trail.
    """
    answer = _answer(exc)
    if answer is not None:
        attempts.record(exc, answer.data, context["request"])
    return answer


def _answer(exc: Exception) -> ProblemResponse | None:
    if isinstance(exc, DomainError):
        return _of_domain(exc)
    if isinstance(exc, drf.APIException):
        return _of_framework(exc)
    for kind, code in _OTHERS:
        if isinstance(exc, kind):
            # What these say may name models, tables or addresses of nodes, so none of it is passed on.
            log.info("refused: %s", code, extra={"reason": str(exc)})
            return problem(code, retry_after_s=RETRY_NODE_SECONDS if code == "node_unavailable" else None)
    return None


_OTHERS: tuple[tuple[type[Exception], str], ...] = (
    (Http404, "not_found"),
    (PermissionDenied, "forbidden"),
    (NodeUnreachable, "node_unavailable"),
    (RequestDataTooBig, "too_large"),
    (UnreadablePostError, "malformed"),  # the client went away in the middle of its body
)


def _of_domain(exc: DomainError) -> ProblemResponse | None:
    if exc.code not in KINDS or exc.code == "internal":
        return None
    wait = exc.retry_after_s if isinstance(exc, NodeUnavailable | Throttled) else None
    faults = exc.errors if isinstance(exc, ValidationFailed) else ()
    return problem(exc.code, exc.message, errors=faults, extra=exc.extra, retry_after_s=wait)


def _of_framework(exc: drf.APIException) -> ProblemResponse | None:
    match exc:
        case drf.ValidationError():
            faults = list(_faults(exc.detail))
            return problem("validation", faults[0].message if faults else "", errors=faults)
        case drf.AuthenticationFailed():
            return problem("token_not_valid" if exc.default_code == "token_not_valid" else "not_authenticated")
        case drf.NotAuthenticated():
            return problem("not_authenticated")
        case drf.Throttled():
            return problem("throttled", retry_after_s=getattr(exc, "wait", None) or 1)
        case drf.UnsupportedMediaType() | drf.NotFound() | drf.MethodNotAllowed():
            return problem(_CODE_OF_STATUS[exc.status_code])
        case drf.PermissionDenied():
            return problem("forbidden", str(exc.detail))
        case drf.ParseError():
            return problem("malformed", str(exc.detail))
        case drf.NotAcceptable():
            return problem("malformed", "None of the media types in Accept can be had here.", status=exc.status_code)
    return None


def _faults(detail: Any, path: str = "") -> list[FieldError]:
    if isinstance(detail, Mapping):
        return [fault for key, value in detail.items() for fault in _faults(value, f"{path}.{key}".strip("."))]
    if isinstance(detail, list):
        return [fault for value in detail for fault in _faults(value, path)]
    return [FieldError(path, getattr(detail, "code", "invalid"), str(detail))]


# What Django itself answers: unknown routes, malformed hosts, crashes, and its own views.


def is_admin_page(request: HttpRequest) -> bool:
    return request.path_info.startswith(ADMIN_PREFIX)


def of_status(status: int) -> ProblemResponse:
    code = _CODE_OF_STATUS.get(status, "internal" if status >= 500 else "malformed")
    return problem(code, status=status)


def as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """This answer, or the problem document in its place if it is an error that is none, as Django's debug pages are.

    What the answer says beside its body is kept: Allow, Vary, the headers of CORS, cookies.
    """
    if response.status_code < 400 or is_admin_page(request):
        return response
    if response.headers.get("Content-Type", "").startswith(CONTENT_TYPE):
        return response
    replaced = of_status(response.status_code)
    for name, value in response.items():
        if name.lower() not in _BODY_HEADERS:
            replaced.headers.setdefault(name, value)
    replaced.cookies = response.cookies
    replaced._resource_closers = response._resource_closers  # type: ignore[attr-defined]
    return replaced


def _error_page(status: int) -> Callable[..., HttpResponse]:
    """A handler for the URL configuration: HTML under /admin/, a problem document elsewhere."""

    def handler(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
        answer = of_status(status)
        if not is_admin_page(request):
            return answer
        # Without the request in its context: the page must come out even where the database is gone.
        return HttpResponse(get_template("error.html").render(dict(answer.data)), status=status)

    return handler


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """A page that the user's permissions do not cover."""
    attempts.record_page(request, of_status(403).data)
    return _forbidden(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was not sent from a page of ours, or from one whose cookie is gone."""
    attempts.record_page(request, {**of_status(403).data, "detail": reason})
    return _forbidden(request)


_forbidden = _error_page(403)
bad_request = _error_page(400)
page_not_found = _error_page(404)
server_error = _error_page(500)
