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
from bench.sites import Site
from resources.states import Status

CALLS = int(os.environ.get("BENCH_CALLS", "600"))
_WARM_UP = 10

Send = Callable[[], bytes]


def _stay() -> None:
    """Where a call is sent in the database that the process is in."""


@dataclass(frozen=True)
class Call:
    """What is measured, and how to come to the database in which it is."""

    send: Send
    enter: Callable[[], None] = _stay


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


def milliseconds(*calls: Call) -> list[float]:
    """The CPU milliseconds of one call of each, the median of all.

    They take turns after each call: a machine's speed changes within seconds, and a call that follows only its like
    finds the processor's caches as no server does.
    """
    times: list[list[float]] = [[] for _ in calls]
    for number in range(CALLS):
        for call, kept in zip(calls, times, strict=True):
            call.enter()
            for _ in range(0 if number else _WARM_UP):
                call.send()
            began = time.process_time()
            call.send()
            kept.append((time.process_time() - began) * 1000)
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
    ours, theirs = (rows.add(_WARM_UP + CALLS, Status.QUEUED) for _ in range(2))
    _print_row(
        "start",
        client.post(f"/resources/{vm}/start" for vm in ours),
        client.post(f"/bare/{vm}/start" for vm in theirs),
    )
    bodies = rows.bodies()
    _print_row("create", client.post(repeat("/resources"), bodies), client.post(repeat("/bare/create"), bodies))
    print(f"\nMedians of {CALLS} calls, in turns. `{bare.__name__}` says what the bare views do.\n")
    rows.remove()


def _print_row(name: str, served: Send, plain: Send) -> None:
    ours, theirs = milliseconds(Call(served), Call(plain))
    print(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)


def print_crowd(rows: Rows, quiet: Site, crowded: Site, others: int) -> None:
    """The lists where others' VMs lie beside the member's, and the member's where they do not."""
    mine, all_of_them = (client_of(user).get("/resources?limit=100") for user in (rows.user, rows.operator))
    alone, among, whole = milliseconds(
        Call(mine, _inside(quiet, mine)), Call(mine, _inside(crowded, mine)), Call(all_of_them, _inside(crowded, mine))
    )
    print("| CPU time of a list of 100 | ms | ratio |")
    print("|---|---:|---:|")
    print(f"| a member's, alone | {alone:.2f} | |")
    print(f"| a member's, among {others:,} VMs of others | {among:.2f} | {among / alone:.2f} |")
    print(f"| an operator's, of all {others:,} | {whole:.2f} | {whole / alone:.2f} |\n", flush=True)


def _inside(site: Site, send: Send) -> Callable[[], None]:
    def enter() -> None:
        site.enter()
        send()  # which connects

    return enter
