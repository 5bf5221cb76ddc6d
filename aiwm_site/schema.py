"""What the OpenAPI document says beside the views' own words: log-in, errors, the request id."""

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from rest_framework.request import Request

from aiwm_site.errors import CONTENT_TYPE, KINDS

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_MEANINGS = {
    400: "A field is wrong, or the request cannot be read",
    401: "No valid access token",
    403: "The role does not allow it",
    404: "No such thing, deleted, or another organization's",
    409: "The state of things does not allow it",
    412: "If-Match did not match",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests",
    500: "Something went wrong on our side",
    503: "The node cannot be reached",
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. Members beside these: taskId (locked), currentStatus and allowedActions "
    "(action_not_allowed), quota (quota_exceeded).",
    "required": ["type", "title", "status", "detail", "code", "requestId"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:aiwm:error:validation"]},
        "title": {"type": "string", "examples": ["Validation failed"]},
        "status": {"type": "integer", "examples": [400]},
        "detail": {"type": "string", "examples": ["IP address required for static mode"]},
        "code": {"type": "string", "enum": list(KINDS)},
        "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {"type": "string", "examples": ["config.networkConfig.ipAddress"]},
                    "code": {"type": "string", "examples": ["required"]},
                    "message": {"type": "string"},
                },
            },
        },
        "taskId": {"type": "string"},
        "currentStatus": {"type": "string"},
        "allowedActions": {"type": "array", "items": {"type": "string"}},
        "quota": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {name: {"type": "integer"} for name in ("limit", "used", "requested")},
            },
        },
    },
    "additionalProperties": True,
}
_REQUEST_ID = {"description": "The id of this request, in every log line of it.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer"}}


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.AccessTokenAuthentication"
    name = "accessToken"
    priority = 1  # before the one that drf-spectacular has for simplejwt's classes

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return build_bearer_security_scheme_object(
            header_name="Authorization",
            token_prefix="Bearer",  # noqa: S106
            bearer_format="JWT",
        )


def describe_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: each operation names the errors that it can answer with, unless its view did."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components.setdefault("headers", {}).update({"X-Request-Id": _REQUEST_ID, "Retry-After": _RETRY_AFTER})
    components.setdefault("responses", {}).update(
        {"Problem": _problem_response(), "ProblemWithRetry": _problem_response(retry=True)}
    )
    for path, item in result.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                _describe(path, method, item[method])
    return result


def _problem_response(retry: bool = False) -> dict[str, Any]:
    names = ("X-Request-Id", "Retry-After") if retry else ("X-Request-Id",)
    return {
        "description": "A problem document",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    for response in responses.values():
        if "$ref" not in response:
            response.setdefault("headers", {})["X-Request-Id"] = {"$ref": "#/components/headers/X-Request-Id"}
    for status in _statuses(path, method, operation):
        name = "ProblemWithRetry" if status in (429, 503) else "Problem"
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{name}", "description": _MEANINGS[status]})


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    statuses = {429, 500}
    if any(operation.get("security") or ()):
        statuses |= {401, 403}
    elif "requestBody" in operation:
        statuses.add(401)  # what it carries is a password or a token
    parameters = operation.get("parameters", ())
    if "{" in path or any(parameter.get("name") == "X-Org-Id" for parameter in parameters):
        statuses.add(404)
    if parameters or "requestBody" in operation:
        statuses.add(400)
    if "requestBody" in operation:
        statuses |= {413, 415}
    if method not in ("get", "head", "options") and path.startswith("/resources"):
        statuses |= {409, 503}
    if method in ("patch", "delete") and path.startswith("/resources"):
        statuses.add(412)
    return sorted(statuses)


class CachedGenerator(SchemaGenerator):
    """The document is the same for everybody, and costs most of a second: it is made once a process."""

    def get_schema(self, request: Request | None = None, public: bool = False) -> Any:
        return _public_schema()


@cache
def _public_schema() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
