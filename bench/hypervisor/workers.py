"""Real workers, and tasks for them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction
from django.db.models import Max

from bench.hypervisor.estate import actor, add_node, open_tasks
from bench.rows import Rows, vm_row
from nodes.models import Node
from resources import actions
from resources.models import VirtualMachine
from resources.states import Status
from tasks.models import Task, TaskStatus, Worker
from tests.processes.sites import wait_for

MOCK = "bench.hypervisor.backends.SweptMock"
_START_SECONDS = 60.0
_TASK_SECONDS = 300.0


@contextmanager
def workers(folder: Path, number: int, **settings: str) -> Iterator[list[int]]:
    """Their process ids. They are all there, and have looked at all real nodes once. They end with this process,
    however it does."""
    Worker.objects.all().delete()
    began = datetime.now(UTC)
    started = []
    try:
        with (folder / "workers.txt").open("ab") as output:
            for _ in range(number):
                command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "manage.py", "worker"]
                environment = {**os.environ, **settings}
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        wait_for(lambda: Worker.objects.count() == number, _START_SECONDS, "the workers")
        unseen = Node.objects.filter(lost=False).exclude(uri="").exclude(last_seen__gte=began)
        wait_for(lambda: not unseen.exists(), _START_SECONDS, "a sweep")
        yield [worker.pid for worker in started]
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait(_START_SECONDS)


def mock_vms(rows: Rows, nodes: int, each: int) -> list[str]:
    """Stopped VMs on so many nodes that are a mock's. Their ids, such of one node far from one another."""
    there = [add_node(f"bench-mock-{n}") for n in range(nodes)]
    vms = [vm_row(rows.user, there[n % nodes], Status.STOPPED) for n in range(nodes * each)]
    VirtualMachine.objects.bulk_create(vms, batch_size=1000)
    return [vm.id for vm in vms]


def mock_nodes() -> list[Node]:
    return list(Node.objects.filter(uri=""))


def ask(verb: str, rows: Rows, vm_ids: Sequence[str]) -> None:
    """For a start or a forced stop of all of them: the workers see all these tasks at the same moment."""
    how = {"force": True} if verb == "stop" else {}
    with transaction.atomic():
        for vm_id in vm_ids:
            getattr(actions, verb)(actor(rows), vm_id, **how)


def finish(verb: str, rows: Rows, vm_ids: Sequence[str]) -> float:
    """How many seconds that takes until the last task has succeeded."""
    ask(verb, rows, vm_ids)
    asked = datetime.now(UTC)
    give_up = time.monotonic() + _TASK_SECONDS
    while open_tasks():
        if time.monotonic() > give_up:
            raise TimeoutError(f"the workers did not {verb} all VMs")
        time.sleep(0.1)
    tasks = Task.objects.filter(subject_id__in=vm_ids, finished_at__gte=asked)
    if tasks.filter(status=TaskStatus.SUCCEEDED).count() != len(vm_ids):
        raise RuntimeError(f"not all tasks to {verb} succeeded: {list(tasks.values('status', 'error')[:5])}")
    last = tasks.aggregate(last=Max("finished_at"))["last"]
    return (last - asked).total_seconds()
