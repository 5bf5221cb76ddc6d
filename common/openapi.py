"""The pieces that descriptions of operations are made of, for `@extend_schema`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from common.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE
from common.schemas import OBJECT_ID

PROBLEM = {"$ref": "#/components/schemas/Problem"}
PROBLEM_TYPE = "application/problem+json"


def path_id(name: str, pattern: str, description: str, example: str) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        {"type": "string", "pattern": pattern},
        OpenApiParameter.PATH,
        required=True,
        description=description,
        examples=[OpenApiExample("Example", example)],
    )


def query(name: str, schema: dict[str, Any], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description, explode=_explode(schema))


def _explode(schema: dict[str, Any]) -> bool | None:
    """Several values of one parameter are comma-separated."""
    return False if schema["type"] == "array" else None


def request_header(name: str, schema: dict[str, Any], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description)


def response_header(name: str, description: str, *statuses: int, always: bool = True) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        {"type": "string"},
        OpenApiParameter.HEADER,
        response=list(statuses),
        required=always,
        description=description,
    )


def answer(model: Any, description: str, example: Any, name: str = "Example") -> OpenApiResponse:
    return OpenApiResponse(model, description, [OpenApiExample(name, example)])


def problems(**described: str) -> dict[tuple[int, str], OpenApiResponse]:
    """Errors of one's own, by status: `_409="..."`."""
    return {
        (int(status.lstrip("_")), PROBLEM_TYPE): OpenApiResponse(PROBLEM, description)
        for status, description in described.items()
    }


_VERSION = '"[0-9]{1,9}"'
IF_MATCH = request_header(
    "If-Match",
    {"type": "string", "pattern": rf"^(?:\*|{_VERSION}(?:, {_VERSION})*)$"},
    "The ETag as GET gave it: the change is made only if it still has it.",
)
IF_NONE_MATCH = request_header("If-None-Match", {"type": "string"}, "An ETag: the answer is 304 if it still stands.")
IDEMPOTENCY_KEY = request_header(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "The same key and body within 24 hours answer the first response again and do nothing.",
)
OWNING_ORG = request_header(
    "X-Org-Id",
    {"type": "string", "pattern": OBJECT_ID},
    "For operators: the organization that is to own it, instead of their own.",
)
PAGE = [
    query(
        "page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 1}, "From 1. Past the end is empty."
    ),
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "How many a page has.",
    ),
]
NOT_MODIFIED = {304: OpenApiResponse(None, "What If-None-Match names is what would be sent.")}


def etag(*statuses: int) -> OpenApiParameter:
    return response_header("ETag", "For If-Match and If-None-Match.", *statuses)


def replayed(status: int) -> OpenApiParameter:
    return response_header(
        "Idempotent-Replayed", "`true` where this is the answer that the same key had before.", status, always=False
    )
