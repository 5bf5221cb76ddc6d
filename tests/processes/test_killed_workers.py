"""Under load, workers are killed in the middle of their tasks or sleep through their leases: nothing is lost or ended
twice, and the API answers all the while."""

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.databases import Database
from tests.processes import fleet, hands
from tests.processes.api import Api
from tests.processes.inside import Inside
from tests.processes.sites import Call, Site, free_port, wait_for

VMS = 14
WORKERS = 4
WEB_PROCESSES = 2
READERS = 4
KILLS = 6
STALLS = 1
LEASE_SECONDS = 3.0
SECONDS = 90.0

# What the VM's log says when a verb was asked for, and when it is done.
SAID_OF = {
    "start": ("VM start requested", "VM started successfully"),
    "stop": ("VM stop requested", "VM stopped"),
    "restart": ("VM restart requested", "VM restarted successfully"),
    "delete": ("VM deleted", "VM removed from its node"),
}


class Crew:
    """Workers, of which some are killed and some stopped for longer than a lease; whoever is gone is replaced."""

    def __init__(self, site: Site, inside: Inside) -> None:
        self._site = site
        self._inside = inside
        self._workers: set[int] = set()
        self._stalled: dict[int, float] = {}
        self.replace_the_dead()

    def replace_the_dead(self) -> None:
        self._workers -= self._inside(hands.ended).keys()
        while len(self._workers) < WORKERS:
            self._workers.add(self._inside(hands.hire))

    def kill_one_at_work(self) -> bool:
        """False if none is at work."""
        victim = self._one_at_work()
        if victim is None:
            return False
        os.kill(victim, signal.SIGKILL)
        self._workers.remove(victim)
        return True

    def stall_one_at_work(self) -> bool:
        """Let one sleep until its task is another's: when it wakes it must see that, and touch nothing."""
        victim = self._one_at_work()
        if victim is None:
            return False
        os.kill(victim, signal.SIGSTOP)
        self._stalled[victim] = time.monotonic() + LEASE_SECONDS + 1
        return True

    def wake_the_stalled(self, *, all_of_them: bool = False) -> None:
        for pid, until in list(self._stalled.items()):
            if all_of_them or time.monotonic() > until:
                os.kill(pid, signal.SIGCONT)
                del self._stalled[pid]

    def _one_at_work(self) -> int | None:
        busy = (self._workers & self._pids_at_work()) - self._stalled.keys()
        return random.choice(list(busy)) if busy else None

    def _pids_at_work(self) -> set[int]:
        """Of those that hold a task which has not seen many deaths: after five it would be given up."""
        rows = self._site.database.query("SELECT worker FROM tasks_task WHERE lease_until IS NOT NULL AND deaths < 3")
        return {int(worker.split(":")[1]) for (worker,) in rows}

    def stop(self) -> None:
        self.wake_the_stalled(all_of_them=True)
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)
        wait_for(lambda: self._inside(hands.ended).keys() >= self._workers, 15, "the end of all workers")


@pytest.mark.processes
def test_it_ends_every_task_once_and_in_order_although_workers_are_killed(
    site_of: Callable[..., Site], migrated: Database
) -> None:
    site = site_of(
        migrated,
        LEASE_SECONDS=LEASE_SECONDS,
        SWEEP_SECONDS=0.5,
        SAMPLE_SECONDS=1,
        VM_BACKEND_OPTIONS={"deploy_s": 0.2, "stop_s": 0.2, "latency_s": 0.02},
        API_RATE=0,
        LOG_LEVEL="WARNING",
        WEB_WORKERS=WEB_PROCESSES,
        GUNICORN_LOG_LEVEL="warning",
    )
    inside = Inside(site)
    api = Api(free_port(), inside(fleet.token))
    site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{api.port}")
    wait_for(lambda: api.answers("/healthz"), 20, "the web server")
    with _readers(api) as seen_by_readers:
        driver = site.begin("tests.processes.fleet:drive", api.port, api.token, VMS, SECONDS)
        crew = Crew(site, inside)
        troubles = _trouble_until_done(crew, driver)
        plans = driver.answer()
        crew.stop()
    assert seen_by_readers.keys() == {200}, site.output()[-8000:]

    seen = inside(fleet.report)
    assert troubles == KILLS + STALLS, "the work was over before the trouble"
    assert seen["deaths"] >= 2, "the killed were not in the middle of their tasks"
    assert seen["differences"] == []
    assert seen["tasks"] == sum(len(plan) for plan in plans.values())
    assert seen["vms"].keys() == plans.keys()
    for vm_id, plan in plans.items():
        vm = seen["vms"][vm_id]
        _assert_done_once_and_in_order(vm, plan)
        _assert_as_intended(vm, plan)


@contextmanager
def _readers(api: Api) -> Iterator[Counter[int]]:
    """Clients that read the list and VMs of it, without a pause. Gives how often they saw which status."""
    seen: Counter[int] = Counter()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            listed = api.get("/resources?limit=100")
            seen[listed.status] += 1
            for vm in listed.json.get("data", ())[:3]:
                answer = api.get(f"/resources/{vm['_id']}")
                if answer.status != 404:  # one that was deleted since it was listed
                    seen[answer.status] += 1

    with ThreadPoolExecutor(READERS) as threads:
        running = [threads.submit(read) for _ in range(READERS)]
        try:
            yield seen
        finally:
            ended.set()
        for reader in running:
            reader.result()


def _trouble_until_done(crew: Crew, driver: Call) -> int:
    """Kill and stall workers now and then. Gives how many of these there was time for."""
    done = 0
    deeds = [crew.kill_one_at_work] * KILLS + [crew.stall_one_at_work] * STALLS
    random.shuffle(deeds)
    give_up = time.monotonic() + SECONDS
    next_deed = time.monotonic() + 1.0
    while not driver.ended:
        assert time.monotonic() < give_up
        crew.replace_the_dead()
        crew.wake_the_stalled()
        if done < len(deeds) and time.monotonic() > next_deed and deeds[done]():
            done += 1
            next_deed = time.monotonic() + random.uniform(0.2, 0.8)
        time.sleep(0.01)
    return done


def _assert_done_once_and_in_order(vm: dict, plan: list[str]) -> None:
    tasks = vm["tasks"]
    assert [task["status"] for task in tasks] == ["succeeded"] * len(plan), tasks
    assert [task["outcome"]["reason"] for task in tasks] == ["succeeded"] * len(plan)
    assert [(task["slot"], task["lease"]) for task in tasks] == [(None, None)] * len(plan)
    assert [_verb(task["type"]) for task in tasks] == plan
    for before, after in itertools.pairwise(tasks):
        assert before["finished"] <= after["created"] <= after["started"]
    # What ended twice would be told twice, and raise the version once more.
    assert vm["log"][1:] == [line for verb in plan for line in SAID_OF[verb]]
    assert vm["version"] == 1 + 2 * len(plan)


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
