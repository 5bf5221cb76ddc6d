"""Everything on one machine with one command: `manage.py serve`. The web server and the workers are its children."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from rich.console import Console
from rich.table import Table

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
LONGEST_PAUSE = 30.0
# A worker that lived so long did not die of its start.
SOUND_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
DEMO_ACCOUNTS = (
    ("demo", "demo", "member of the demo organization"),
    ("viewer", "viewer", "reads only"),
    ("other", "other", "member of another organization"),
    ("admin", "admin", "operator; the admin pages"),
)


@dataclass
class Child:
    """A process of ours in a process group of its own, so that Ctrl-C reaches us alone and we stop it in order."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause: float = 1.0
    die_with_us: Callable[[], None] | None = field(default=None, repr=False)

    def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own commands
            self.command,
            env=self.environment,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=self.die_with_us,
        )
        self.started_at = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def start_again_if_gone(self) -> str | None:
        """Start it again after a pause that grows; gives what to say when it has just gone."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.start_again_at:
                self.start()
            return None
        code = self.exit_code
        if code is None:
            return None
        self.pause = 1.0 if now - self.started_at > SOUND_SECONDS else min(LONGEST_PAUSE, self.pause * 2)
        self.process, self.start_again_at = None, now + self.pause
        return f"{self.name} has left (exit {code}); it is started again in {self.pause:g} s."


class Command(BaseCommand):
    help = "Migrates, seeds the demo (with DEBUG), and runs the web server and the workers until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="the address to listen on")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 3305)
        parser.add_argument("--workers", type=int, default=2, help="how many processes work on tasks (2)")

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        self._stopping = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        _require_free(host, port)
        _prepare_database()
        self._console = Console()
        web, *tasks = children = _children(host, port, workers)
        with _stopped_at_end(children):
            for child in children:
                child.start()
            if self._wait_until_ready(web, host, port):
                self._greet(port)
            while not self._stopping:
                if web.exit_code is not None:
                    raise CommandError(f"The web server has left (exit {web.exit_code}); see above for why.")
                for child in tasks:
                    if gone := child.start_again_if_gone():
                        self.stderr.write(gone)
                time.sleep(0.2)
            self._console.print("Stopping ...")

    def _on_signal(self, *args: Any) -> None:
        self._stopping = True

    def _wait_until_ready(self, web: Child, host: str, port: int) -> bool:
        address = "127.0.0.1" if host in ("0.0.0.0", "localhost") else host  # noqa: S104 - compared, not bound
        url = f"http://{f'[{address}]' if ':' in address else address}:{port}/healthz"
        give_up = time.monotonic() + READY_SECONDS
        while not self._stopping and web.exit_code is None:
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return True
            except (urllib.error.URLError, OSError) as e:
                if time.monotonic() > give_up:
                    raise CommandError(f"The web server does not answer at {url}: {e}") from e
            time.sleep(0.05)
        return False

    def _greet(self, port: int) -> None:
        base = f"http://localhost:{port}"
        self._console.print(f"\n[bold green]AIWM is ready.[/]  [bold]{base}[/]  (Ctrl-C stops it)\n")
        places = Table(show_header=False, box=None, padding=(0, 2))
        for name, address in (("API", base), ("API documentation", f"{base}/docs"), ("Admin", f"{base}/admin/")):
            places.add_row(name, address)
        self._console.print(places)
        if settings.DEBUG:
            accounts = Table("user", "password", "who", title="Demo accounts", title_justify="left")
            for row in DEMO_ACCOUNTS:
                accounts.add_row(*row)
            self._console.print()
            self._console.print(accounts)


def _require_free(host: str, port: int) -> None:
    if not 1 <= port <= 65_535:
        raise CommandError(f"There is no port {port}: they are from 1 to 65535.")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as e:
        raise CommandError(
            f"Cannot listen on {host} port {port}: {e.strerror}. Stop what uses the port (`ss -ltnp` names it), or "
            f"take another: `manage.py serve --port {port + 1}` or `make serve PORT={port + 1}`."
        ) from e


def _prepare_database() -> None:
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
    if settings.DEBUG:
        call_command("seed_demo")
    connections.close_all()


def _children(host: str, port: int, workers: int) -> list[Child]:
    """The web server first, then the workers."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    die_with_us = _die_with(os.getpid())
    manage = str(settings.BASE_DIR / "manage.py")
    commands = [("The web server", [sys.executable, "-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py"])]
    commands += [(f"Worker {n}", [sys.executable, manage, "worker"]) for n in range(1, workers + 1)]
    # Addresses that the API gives out, such as a console's, are those of this port unless the operator says else.
    defaults = {"GUNICORN_LOG_LEVEL": "warning", "PUBLIC_URL": f"http://localhost:{port}"}
    environment = {**defaults, **os.environ, "BIND": bind}
    return [Child(name, command, environment, die_with_us=die_with_us) for name, command in commands]


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes itself, so that it does not outlive a parent that was killed. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return die_with_us


@contextmanager
def _stopped_at_end(children: list[Child]) -> Iterator[None]:
    try:
        yield
    finally:
        started = [child.process for child in children if child.process]
        for process in started:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # The group has its number. What is left of it hangs, or lost its own parent and holds the port.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
