"""`manage.py serve`: everything starts with one command, and nothing of it is left when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    def __init__(self, output: Path, var: Path) -> None:
        self.port = free_port()
        self.output = output
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        environment |= {"DEBUG": "1", "AIWM_VAR": str(var), "WEB_WORKERS": "2", "LOG_LEVEL": "INFO"}
        environment.pop("DATABASE_URL", None)
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port), "--workers", "2"]
        with output.open("ab") as to:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=to, stderr=to)

    def wait_until(self, holds, seconds: float = 60) -> None:
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, self.output.read_text()
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: "AIWM is ready" in self.output.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output.read_text()

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def get(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def var(tmp_path_factory) -> Path:
    """Where all tests serve from: only the first of them waits for tables and demo data."""
    return tmp_path_factory.mktemp("served") / "var"


@pytest.fixture
def serve(tmp_path, var):
    started: list[Served] = []

    def start() -> Served:
        started.append(Served(tmp_path / "output", var))
        return started[-1]

    yield start
    for served in started:
        served.close()


def test_it_starts_a_worker_again_that_leaves_and_stops_all_in_order(serve):
    served = serve()
    served.wait_until_ready()
    assert served.get("/healthz") == 200
    assert served.get("/docs") == 200
    served.wait_until(lambda: served.output.read_text().count("worker started") == 2)

    os.kill(served.children()[-1], signal.SIGKILL)
    served.wait_until(lambda: served.output.read_text().count("worker started") == 3)
    assert "has left (exit -9); it is started again" in served.output.read_text()
    children = served.children()
    assert len(children) == 3

    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(30) == 0
    assert not any(is_running(pid) for pid in children)


def test_it_ends_when_the_web_server_leaves(serve):
    served = serve()
    served.wait_until_ready()
    web, *workers = served.children()
    os.kill(web, signal.SIGKILL)
    assert served.process.wait(30) == 1
    assert "The web server has left (exit -9)" in served.output.read_text()
    assert not any(is_running(pid) for pid in workers)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", served.port)) != 0


def test_it_says_when_the_port_is_taken(serve, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(sys.modules[__name__], "free_port", lambda: other.getsockname()[1])
        served = serve()
        assert served.process.wait(30) == 1
    assert f"Cannot listen on 127.0.0.1 port {served.port}: Address already in use." in served.output.read_text()
