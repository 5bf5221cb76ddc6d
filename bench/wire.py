"""How long a client waits: one client, a connection a request, one gunicorn worker, over loopback."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from accounts.tokens import issue
from bench.rows import Rows
from resources.states import Status
from tests.processes.api import Answer, Api
from tests.processes.sites import free_port, wait_for

CALLS = 300
_WARM_UP = 20
_START_SECONDS = 30

# The median and the 95th percentile, in milliseconds.
Times = dict[str, tuple[float, float]]


def times(rows: Rows, folder: Path) -> Times:
    """Each kind of request, and whoever sends it is the member."""
    vm = rows.listed[0]
    bodies = rows.bodies()
    number = CALLS + _WARM_UP
    startable, running = iter(rows.add(number, Status.QUEUED)), iter(rows.add(2 * number, Status.RUNNING))
    with served(folder) as port:
        api = Api(port, issue(rows.user).access)
        found = {
            "get": timed(lambda: api.get(f"/resources/{vm}")),
            "status": timed(lambda: api.get(f"/resources/{vm}/status")),
            "start": timed(lambda: api.post(f"/resources/{next(startable)}/start")),
            "stop": timed(lambda: api.post(f"/resources/{next(running)}/stop")),
            "restart": timed(lambda: api.post(f"/resources/{next(running)}/restart")),
            "create": timed(lambda: api.post("/resources", json.loads(next(bodies)))),
        }
        rows.remove()
        return {"list of 100": timed(lambda: api.get("/resources?limit=100")), **found}


def print_table(alone: Times, crowded: Times, others: int) -> None:
    print("| wall time through gunicorn, ms | median | 95 % | median among others | 95 % |")
    print("|---|---:|---:|---:|---:|")
    for name, (median, most) in alone.items():
        print(f"| {name} | {median:.1f} | {most:.1f} | {crowded[name][0]:.1f} | {crowded[name][1]:.1f} |")
    print(f"\nOne client, {CALLS} calls of each; the others have {others:,} VMs.\n", flush=True)


def timed(send: Callable[[], Answer], calls: int = CALLS) -> tuple[float, float]:
    taken = []
    for _ in range(calls + _WARM_UP):
        began = time.perf_counter()
        answer = send()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status >= 300:
            raise RuntimeError(str(answer))
    cuts = quantiles(taken[_WARM_UP:], n=20)
    return cuts[9], cuts[18]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", "1", "--log-level", "warning"]
    with (folder / "gunicorn.txt").open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(lambda: Api(port).answers("/healthz"), _START_SECONDS, "gunicorn")
        yield port
    finally:
        server.terminate()
        server.wait(_START_SECONDS)
