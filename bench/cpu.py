"""The CPU time of a request, in this process and without a network: the WSGI application is called by itself."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from typing import Any

from django.core.handlers.wsgi import WSGIHandler

from accounts.models import User
from accounts.tokens import issue
from aiwm_site import urls
from bench import bare
from bench.rows import Rows
from resources.states import Status

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
CALLS = int(os.environ.get("BENCH_CALLS", "60"))
_WARM_UP = 10

Send = Callable[[], bytes]


@dataclass(frozen=True)
class Client:
    """Sends requests as a server would: an environment in, the whole body out."""

    application: WSGIHandler
    token: str

    def get(self, path: str) -> Send:
        return self._sender("GET", repeat(path), repeat(b""))

    def post(self, paths: Iterator[str], bodies: Iterator[bytes] | None = None) -> Send:
        return self._sender("POST", paths, bodies or repeat(b""))

    def _sender(self, method: str, paths: Iterator[str], bodies: Iterator[bytes]) -> Send:
        base = {
            "REQUEST_METHOD": method, "SERVER_NAME": "testserver", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "HTTP_HOST": "testserver", "HTTP_ACCEPT": "*/*",
            "HTTP_AUTHORIZATION": f"Bearer {self.token}", "CONTENT_TYPE": "application/json",
        }  # fmt: skip

        def send() -> bytes:
            path, _, query = next(paths).partition("?")
            body = next(bodies)
            environ = {
                **base, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": BytesIO(body),
            }  # fmt: skip
            answer = self.application(environ, _check_status)
            content = b"".join(answer)
            answer.close()
            return content

        return send


def _check_status(status: str, headers: Any, exc_info: Any = None) -> None:
    if not status.startswith("2"):
        raise RuntimeError(f"answered {status}")


def client_of(user: User) -> Client:
    return Client(WSGIHandler(), issue(user).access)


def milliseconds(*sends: Send) -> list[float]:
    """The CPU milliseconds of one call of each, the median of rounds in which they take turns."""
    for send in sends:
        for _ in range(_WARM_UP):
            send()
    times: list[list[float]] = [[] for _ in sends]
    for _ in range(ROUNDS):
        for send, kept in zip(sends, times, strict=True):
            began = time.process_time()
            for _ in range(CALLS):
                send()
            kept.append((time.process_time() - began) / CALLS * 1000)
    return [statistics.median(kept) for kept in times]


def print_table(rows: Rows) -> None:
    """Each request against the bare view that does the same."""
    urls.urlpatterns[:0] = bare.urls(rows.user)  # found at once, whichever way the site looks for its own
    client = client_of(rows.user)
    vm = rows.listed[0]
    print("| CPU time of a request | API, ms | bare view, ms | ratio |")
    print("|---|---:|---:|---:|")
    _print_row("list of 100", client.get("/resources?limit=100"), client.get("/bare?limit=100"))
    _print_row("get", client.get(f"/resources/{vm}"), client.get(f"/bare/{vm}"))
    _print_row("status", client.get(f"/resources/{vm}/status"), client.get(f"/bare/{vm}"))
    ours, theirs = (rows.add(_WARM_UP + ROUNDS * CALLS, Status.QUEUED) for _ in range(2))
    _print_row(
        "start",
        client.post(f"/resources/{vm}/start" for vm in ours),
        client.post(f"/bare/{vm}/start" for vm in theirs),
    )
    bodies = rows.bodies()
    _print_row("create", client.post(repeat("/resources"), bodies), client.post(repeat("/bare/create"), bodies))
    print(f"\nMedian of {ROUNDS} rounds of {CALLS} calls. `{bare.__name__}` says what the bare views do.\n")
    rows.remove()


def _print_row(name: str, served: Send, plain: Send) -> None:
    ours, theirs = milliseconds(served, plain)
    print(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)


def member(rows: Rows) -> float:
    """The member's list of their hundred VMs."""
    (ms,) = milliseconds(client_of(rows.user).get("/resources?limit=100"))
    return ms


def print_crowd(rows: Rows, lonely_ms: float, others: int) -> None:
    """The lists again, with others' VMs beside the member's. `lonely_ms` is the member's before they came."""
    crowded_ms = member(rows)
    (operator_ms,) = milliseconds(client_of(rows.operator).get("/resources?limit=100"))
    print("| CPU time of a list of 100 | ms | ratio |")
    print("|---|---:|---:|")
    print(f"| a member's, alone | {lonely_ms:.2f} | |")
    print(f"| a member's, among {others:,} VMs of others | {crowded_ms:.2f} | {crowded_ms / lonely_ms:.2f} |")
    print(f"| an operator's, of all {others:,} | {operator_ms:.2f} | {operator_ms / lonely_ms:.2f} |\n", flush=True)
