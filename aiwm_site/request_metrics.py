"""How many requests there were, how they ended and how long they took, for Prometheus.

Under gunicorn each worker counts in files of its own, which whichever worker is asked adds up. The files are named by
the worker's place among its siblings and not by its process id: a worker that is replaced after some thousand requests
leaves its files to the one that comes after it, so that they never become more.
"""

import os

from django.http import HttpRequest
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
PLACE = "AIWM_WEB_PLACE"  # set in each of gunicorn's workers

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# Seconds: a request of the API takes a few milliseconds, and gunicorn ends one after 30 s.
_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def _place() -> str:
    return os.environ.get(PLACE, "parent")


if DIRECTORY in os.environ:
    values.ValueClass = values.MultiProcessValue(_place)  # type: ignore[no-untyped-call]

_own = CollectorRegistry()
_requests = Counter(
    "aiwm_http_requests", "Requests by route, method and status.", ("route", "method", "status"), registry=_own
)
_seconds = Histogram(
    "aiwm_http_request_seconds", "How long requests took.", ("route", "method"), buckets=_BUCKETS, registry=_own
)


def observe(request: HttpRequest, status: int, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "other"
    route = _route(request)
    _requests.labels(route, method, str(status)).inc()
    _seconds.labels(route, method).observe(seconds)


def registry() -> CollectorRegistry:
    """What this process has counted, or under gunicorn all of its siblings."""
    if DIRECTORY not in os.environ:
        return _own
    everybody = CollectorRegistry()
    MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
    return everybody


def _route(request: HttpRequest) -> str:
    """The name of the route, never a path: paths are as many as there are ids. The admin's pages are one."""
    match = request.resolver_match
    if match is None:
        return "none"  # files, unknown paths, and what middleware refuses
    return "admin" if match.app_name == "admin" else str(match.url_name or "none")
