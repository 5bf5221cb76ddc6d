"""Workers are killed in the middle of their tasks, again and again, and nothing is lost or done twice."""

import itertools
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes.sites import Call, Site

VMS = 24
WORKERS = 3
KILLS = 7
SECONDS = 90.0

# What a verb's task is, and what the VM's log says when it was asked for and when it has ended.
TASK_OF = {
    "start": ("VM start requested", "VM started successfully"),
    "stop": ("VM stop requested", "VM stopped"),
    "restart": ("VM restart requested", "VM restarted successfully"),
    "delete": ("VM deleted", "VM removed from its node"),
}


class Crew:
    """Workers, of which one is killed now and then; whoever is gone is replaced."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._workers = [self._start() for _ in range(WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        return self._site.manage("worker")

    def replace_the_dead(self) -> None:
        self._workers = [self._start() if worker.poll() is not None else worker for worker in self._workers]

    def kill_one_at_work(self) -> bool:
        """Kill one that holds a task which is not yet about to be given up; False if none does."""
        at_work = self._at_work()
        busy = [worker for worker in self._workers if worker.pid in at_work]
        if not busy:
            return False
        victim = random.choice(busy)
        victim.kill()
        victim.wait()
        self.replace_the_dead()
        return True

    def _at_work(self) -> set[int]:
        with closing(sqlite3.connect(self._site.database)) as connection:
            rows = connection.execute("SELECT worker FROM tasks_task WHERE lease_until IS NOT NULL AND deaths < 3")
            return {int(worker.split(":")[1]) for (worker,) in rows}

    def stop(self) -> list[int]:
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        return [worker.wait(15) for worker in self._workers]


@pytest.mark.processes
def test_it_ends_every_task_once_and_in_order_although_workers_are_killed(
    site_of: Callable[..., Site], migrated: Path
) -> None:
    site = site_of(
        migrated,
        LEASE_SECONDS=3,
        SWEEP_SECONDS=0.5,
        SAMPLE_SECONDS=1,
        VM_BACKEND_OPTIONS={"deploy_s": 0.2, "stop_s": 0.2, "latency_s": 0.02},
    )
    driver = site.begin("tests.processes.fleet:drive", VMS, SECONDS)
    crew = Crew(site)
    kills = _kill_until_done(crew, driver)
    plans = driver.answer()
    assert crew.stop() == [0] * WORKERS

    seen = site.call("tests.processes.fleet:report")
    assert kills == KILLS, "the work was over before the killing"
    assert seen["deaths"] >= KILLS / 3, "the killed were not in the middle of their tasks"
    assert seen["differences"] == []
    assert seen["tasks"] == sum(len(plan) for plan in plans.values())
    assert seen["vms"].keys() == plans.keys()
    for vm_id, plan in plans.items():
        vm = seen["vms"][vm_id]
        _assert_done_once_and_in_order(vm, plan)
        _assert_as_intended(vm, plan)


def _kill_until_done(crew: Crew, driver: Call) -> int:
    kills = 0
    give_up = time.monotonic() + SECONDS
    next_kill = time.monotonic() + 1.0
    while not driver.ended:
        assert time.monotonic() < give_up
        crew.replace_the_dead()
        if kills < KILLS and time.monotonic() > next_kill and crew.kill_one_at_work():
            kills += 1
            next_kill = time.monotonic() + random.uniform(0.2, 0.8)
        time.sleep(0.01)
    return kills


def _assert_done_once_and_in_order(vm: dict, plan: list[str]) -> None:
    tasks = vm["tasks"]
    assert [task["status"] for task in tasks] == ["succeeded"] * len(plan), tasks
    assert [task["outcome"]["reason"] for task in tasks] == ["succeeded"] * len(plan)
    assert [(task["slot"], task["lease"]) for task in tasks] == [(None, None)] * len(plan)
    assert [_verb(task["type"]) for task in tasks] == plan
    for before, after in itertools.pairwise(tasks):
        assert before["finished"] <= after["created"] <= after["started"]
    # A task that ended twice would have written its last line twice.
    said = [line for line in vm["log"] if any(line in lines for lines in TASK_OF.values())]
    assert said == [line for verb in plan for line in TASK_OF[verb]]


def _verb(task_type: str) -> str:
    return task_type.removeprefix("vm-").replace("deploy", "start")


def _assert_as_intended(vm: dict, plan: list[str]) -> None:
    deleted = plan[-1] == "delete"
    on = plan[-1] in ("start", "restart")
    assert vm["task"] is None
    assert vm["error"] == ""
    assert vm["status"] == ("running" if on else "stopped")
    assert vm["desired_on"] is on
    assert vm["deleted"] is deleted
    assert vm["deployed"] is not deleted
    assert (vm["claims"] == 0) is deleted
