"""The URL table of the site as it is, so that a test can ask for every route and method of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver


@dataclass(frozen=True)
class Route:
    """`pattern` is as in urls.py (`/resources/<str:resource_id>/start`), `methods` without HEAD and OPTIONS."""

    name: str
    pattern: str
    methods: frozenset[str]


def api_routes() -> list[Route]:
    """All but the admin's."""
    return [
        Route(pattern.name or path, path, _methods(pattern.callback))
        for path, pattern in _walk(get_resolver())
        if not path.startswith("/admin")
    ]


def admin_patterns() -> list[tuple[str, URLPattern]]:
    """Path and pattern of each page of the admin."""
    return [(path, pattern) for path, pattern in _walk(get_resolver()) if path.startswith("/admin/")]


def _walk(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, path)
        else:
            yield path, pattern


def _methods(view: Any) -> frozenset[str]:
    """Of a function GET alone: that it takes nothing else is what a test asks it."""
    actions = getattr(view, "actions", None)
    if actions is not None:
        return frozenset(method.upper() for method in actions) - {"HEAD"}  # which the first request adds
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    allowed = getattr(view, "view_initkwargs", {}).get("http_method_names") or getattr(cls, "http_method_names", ())
    names = [name for name in allowed if hasattr(cls, name)] if cls else ["get"]
    return frozenset(name.upper() for name in names) - {"HEAD", "OPTIONS"}
