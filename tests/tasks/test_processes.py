"""Real workers on a real database, killed with -9."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest

from common.ids import new_object_id
from tests.databases import new_database

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
NODES = [new_object_id() for _ in range(4)]


class Site:
    """A database of its own with its workers."""

    def __init__(self, folder: Path) -> None:
        self.database, self.appended = new_database(folder), folder / "appended"
        self.appended.touch()
        self.environment = os.environ | {
            "DATABASE_URL": self.database.url,
            "APPEND_TO": str(self.appended),
            "LEASE_SECONDS": "2",
            "PYTHONPATH": str(ROOT),
        }
        self.log = (folder / "log").open("wb")
        self.workers: list[subprocess.Popen] = []
        subprocess.run(self.command("tables"), env=self.environment, cwd=ROOT, check=True, timeout=60)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.tasks.appending", *arguments]

    def start_worker(self) -> subprocess.Popen:
        worker = subprocess.Popen(self.command(), env=self.environment, cwd=ROOT, stdout=self.log, stderr=self.log)
        self.workers.append(worker)
        return worker

    def query(self, sql: str, *rows: tuple) -> list[tuple]:
        return self.database.query(sql, *rows)

    def enqueue(self, task_type: str, subjects: list[str]) -> None:
        start = datetime.now(UTC).replace(tzinfo=None)
        columns = {
            "_id": lambda n: new_object_id(),
            "type": lambda n: task_type,
            "status": lambda n: "pending",
            "subject_id": lambda n: subjects[n],
            "node_id": lambda n: NODES[int(subjects[n], 16) % len(NODES)],
            "payload": lambda n: f'{{"number": {n}}}',
            "created_at": lambda n: str(start + timedelta(microseconds=n)),
        }
        fixed = {"state": "{}", "outcome": "{}", "progress": 0, "message": "", "error": "", "worker": ""}
        fixed |= {"attempt": 0, "deaths": 0}
        names = ", ".join([*columns, *fixed])
        marks = ", ".join("?" * (len(columns) + len(fixed)))
        rows = [(*(make(n) for make in columns.values()), *fixed.values()) for n in range(len(subjects))]
        self.query(f"INSERT INTO tasks_task ({names}) VALUES ({marks})", *rows)

    def wait_for(self, sql: str, seconds: float = 90) -> None:
        give_up = time.monotonic() + seconds
        while not self.query(sql)[0][0]:
            assert time.monotonic() < give_up, self.query("SELECT type, status, message, deaths, error FROM tasks_task")
            time.sleep(0.05)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.appended.read_text().splitlines()]

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait(10)
        self.log.close()
        self.database.drop()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_it_ends_every_task_once_and_in_order_while_workers_are_killed(site):
    subjects = [new_object_id() for _ in range(12)] * 5
    site.enqueue("append", subjects)
    workers = [site.start_worker() for _ in range(3)]
    site.wait_for("SELECT count(*) > 2 FROM tasks_beat WHERE name LIKE 'ended%'")
    for _ in range(6):
        time.sleep(random.uniform(0.1, 0.4))
        victim = random.randrange(3)
        workers[victim].kill()
        workers[victim] = site.start_worker()
    site.wait_for("SELECT count(*) = 0 FROM tasks_task WHERE status IN ('pending', 'running')")

    assert site.query("SELECT status, count(*) FROM tasks_task GROUP BY status") == [("succeeded", 60)]
    assert site.query("SELECT count(*) FROM tasks_beat WHERE name LIKE 'ended%'") == [(60,)]
    assert site.query("SELECT count(*) FROM tasks_task WHERE node_slot IS NOT NULL OR lease_until IS NOT NULL") == [
        (0,)
    ]
    done: dict[str, list[tuple[int, str]]] = {}
    for subject, number, step, _pid in site.lines():
        done.setdefault(subject, []).append((int(number), step))
    order = {"first": 1, "second": 2, "third": 3}
    for subject, steps in done.items():
        # A step may have been repeated, but no task is gone back to, and no step.
        assert [number for number, _ in groupby(n for n, _ in steps)] == [
            n for n, each in enumerate(subjects) if each == subject
        ]
        assert [(n, order[step]) for n, step in steps] == sorted((n, order[step]) for n, step in steps)


def test_it_stops_in_order_when_told(site):
    site.enqueue("append", [new_object_id() for _ in range(40)])
    worker = site.start_worker()
    site.wait_for("SELECT count(*) > 2 FROM tasks_beat WHERE name LIKE 'ended%'")
    assert site.query("SELECT pid FROM tasks_worker") == [(worker.pid,)]
    worker.terminate()
    assert worker.wait(10) == 0
    assert site.query("SELECT count(*) FROM tasks_worker") == [(0,)]
    assert site.query("SELECT count(*) FROM tasks_task WHERE node_slot IS NOT NULL OR lease_until IS NOT NULL") == [
        (0,)
    ]
    site.start_worker()
    site.wait_for("SELECT count(*) = 40 FROM tasks_task WHERE status = 'succeeded'")
    assert site.query("SELECT sum(deaths) FROM tasks_task") == [(0,)]


def test_it_leaves_when_a_step_hangs(site):
    site.enqueue("hang", [new_object_id()])
    assert site.start_worker().wait(30) == 75
    assert site.query("SELECT status, deaths FROM tasks_task") == [("running", 0)]
