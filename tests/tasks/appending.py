"""A worker for the tests of real processes: its tasks append what they do to the file that APPEND_TO names."""

import os
import random
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.db import connection  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from tasks.engine import Run  # noqa: E402
from tasks.models import Beat, Task, Worker  # noqa: E402
from tasks.registry import Step, TaskType, Wait, registry  # noqa: E402
from tasks.worker import WorkerProcess  # noqa: E402


def append(run: Run, step: str) -> None:
    line = f"{run.task.subject_id} {run.payload['number']} {step} {os.getpid()}\n"
    file = os.open(os.environ["APPEND_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
    time.sleep(random.uniform(0.005, 0.03))


def first(run: Run) -> None:
    append(run, "first")


def second(run: Run) -> Wait | None:
    append(run, "second")
    if "waited" in run.state:
        return None
    run.state["waited"] = True
    return Wait(0.05)


def third(run: Run) -> None:
    append(run, "third")


def settle(task: Task) -> None:
    # A second end of the same task would meet this row, and fail.
    Beat.objects.create(name=f"ended {task.id}", next_at=Now())


def hang(run: Run) -> None:
    append(run, "hang")
    time.sleep(600)


def install() -> None:
    steps = (Step("first", 30, "First", first), Step("second", 60, "Second", second), Step("third", 90, "Third", third))
    registry.types = {
        "append": TaskType("append", steps, settle),
        "hang": TaskType("hang", (Step("hang", 50, "Hanging", hang, deadline_s=0.5),), settle),
    }
    registry.periodic = {}
    registry.unreachable_nodes = lambda: ()


def make_tables() -> None:
    with connection.schema_editor() as editor:
        for model in (Task, Worker, Beat):
            editor.create_model(model)


if __name__ == "__main__":
    install()
    if sys.argv[1:] == ["tables"]:
        make_tables()
    else:
        WorkerProcess(poll_s=0.05).run()
