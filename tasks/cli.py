"""The wait of a command for the tasks that it began."""

from collections.abc import Callable, Mapping
from time import monotonic, sleep

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from tasks.errors import NoWorker, WaitedInVain, WaitingEnded
from tasks.models import Task, Worker

POLL_S = 0.3


def wait_for(console: Console, tasks: Mapping[str, Task], timeout_s: float) -> dict[str, Task]:
    """Show these tasks, by the names given, until all have ended; gives them as they ended.

    On a terminal there is a bar for each; elsewhere a line for each change. Raises NoWorker at once where none
    lives, WaitedInVain when the time is over, WaitingEnded at Ctrl-C.
    """
    try:
        return _shown(console, tasks, timeout_s)
    except KeyboardInterrupt as e:
        left = ", ".join(task.public_id for task in tasks.values())
        raise WaitingEnded(f"No longer waiting; this goes on: {left}") from e


def _shown(console: Console, tasks: Mapping[str, Task], timeout_s: float) -> dict[str, Task]:
    if not console.is_terminal:
        return _poll(tasks, timeout_s, _Lines(console))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        bars = {name: progress.add_task(Text(name).markup, total=100, message="") for name in tasks}

        def show(name: str, task: Task) -> None:
            progress.update(bars[name], completed=task.progress, message=_state(task))

        return _poll(tasks, timeout_s, show)


class _Lines:
    """Prints what has changed since the last look."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, str] = {}

    def __call__(self, name: str, task: Task) -> None:
        line = f"{name}: {task.progress:3d} % {_state(task)}"
        if self._last.get(name) != line:
            self._last[name] = line
            self._console.print(line)


def _state(task: Task) -> str:
    return f"{task.status}: {task.message}" if task.is_open and task.message else task.status


def _poll(tasks: Mapping[str, Task], timeout_s: float, show: Callable[[str, Task], None]) -> dict[str, Task]:
    until = monotonic() + timeout_s
    while True:
        rows = Task.objects.in_bulk([task.id for task in tasks.values()])
        now = {name: rows[task.id] for name, task in tasks.items()}
        for name, task in now.items():
            show(name, task)
        still_open = ", ".join(task.public_id for task in now.values() if task.is_open)
        if not still_open:
            return now
        if not Worker.objects.alive().exists():
            raise NoWorker(f"No worker lives, so {still_open} waits for one. Start it: `manage.py worker`.")
        if monotonic() >= until:
            raise WaitedInVain(f"Not done after {timeout_s:g} s, and still going on: {still_open}")
        sleep(POLL_S)
