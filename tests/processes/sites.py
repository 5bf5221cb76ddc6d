"""A site of its own for one test: a database, real processes on it, and what ends them all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.databases import Database

REPOSITORY = Path(__file__).resolve().parents[2]
CALL_SECONDS = 60.0
# What the settings of the tests put into this process's environment, and processes of a site shall not have.
_OF_THE_TESTS = ("SECRET_KEY", "SECRETS_KEY", "VM_BACKEND_OPTIONS", "API_RATE", "TOKEN_RATE", "OPEN_VLANS")


class Site:
    """`settings` go into the environment of its processes; dicts are written as JSON.

    A process of the site is told by its environment, which names the site's directory: so are children of
    children, and those that nobody waits for any more.
    """

    def __init__(self, directory: Path, database: Database, **settings: object) -> None:
        self.directory = directory
        self.database = database
        self._output = directory / "output.txt"
        self._mark = f"AIWM_VAR={directory}".encode()
        self._started: list[subprocess.Popen[bytes]] = []
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_THE_TESTS}
        self.environment = inherited | {
            "DEBUG": "1",
            "DJANGO_SETTINGS_MODULE": "aiwm_site.settings",
            "DATABASE_URL": database.url,
            "AIWM_VAR": str(directory),
            "POLL_SECONDS": "0.05",
        }
        self.environment |= {
            name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in settings.items()
        }

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a Python process with these arguments. What it says is in `output()`."""
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        self._started.append(process)
        return process

    def manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("manage.py", *arguments)

    def begin(self, function: str, *arguments: object) -> "Call":
        """Call a function (`tests.processes.fleet:drive`) in a process of the site."""
        answer = self.directory / f"answer-{len(self._started)}.json"
        process = self.start("-m", "tests.processes.call", str(answer), function, json.dumps(arguments))
        return Call(self, process, answer)

    def output(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def processes(self) -> dict[int, str]:
        """The processes of the site that live, and their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended meanwhile, or is not ours to look at
                continue
        return found

    def close(self) -> None:
        for pid in self.processes():
            kill(pid)
        for process in self._started:
            process.wait(10)


class Call:
    """A function that runs in a process of a site."""

    def __init__(self, site: Site, process: subprocess.Popen[bytes], answer: Path) -> None:
        self._site = site
        self._process = process
        self._answer = answer

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def answer(self, seconds: float = CALL_SECONDS) -> Any:
        code = self._process.wait(seconds)
        assert code == 0, self._site.output()[-8000:]
        return json.loads(self._answer.read_text())


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first answer of `condition` that is true."""
    give_up = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < give_up, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return answer
