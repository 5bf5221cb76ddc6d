"""Response bodies: JSON by orjson, whatever the client says it accepts."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from common.times import isoformat


class OrjsonRenderer(BaseRenderer):
    """JSON. An `orjson.Fragment` in the data is passed through as the JSON that it holds already."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8 and its media type has no such parameter

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _default(value: Any) -> str:
    if isinstance(value, datetime):
        return isoformat(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


class ForgivingNegotiation(DefaultContentNegotiation):
    """A client that accepts nothing we have gets the first we have: RFC 9110, section 12.5.1, leaves that to us.

    What it sends has one type, though: the framework would take a range of types, as `*/*`, for JSON.
    """

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        parsers = list(parsers)
        if request.content_type == parsers[0].media_type:
            return parsers[0]
        return None if "*" in (request.content_type or "") else super().select_parser(request, parsers)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        if len(renderers) == 1:
            return renderers[0], str(renderers[0].media_type)
        try:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], str(renderers[0].media_type)
        return renderer, media_type
