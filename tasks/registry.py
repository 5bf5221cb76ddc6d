"""What the task types of the apps above look like to the engine. Each app registers its own in `ready()`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.engine import Run
    from tasks.models import Task


@dataclass(frozen=True)
class Wait:
    """A step's answer that it is not done: give the worker back and call the step again in `seconds`."""

    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Step:
    """One repeatable piece of work on a node. `progress` is the task's when it is done.

    `do` gives None when it is done, or a Wait. `undo` takes back what it did, and is called also where `do` was
    begun and did not end. Both must end within `deadline_s`, which is shorter than a lease: a worker whose step
    does not is taken for hung and leaves.
    """

    name: str
    progress: int
    message: str
    do: "Callable[[Run], Wait | None]"
    undo: "Callable[[Run], None] | None" = None
    deadline_s: float = 45.0


@dataclass(frozen=True)
class TaskType:
    """`settle` is called in the transaction that ends the task, with the ended task: it puts the subject right.

    `deadline_s` is how long a task is tried from its first start, or waits for a node out of reach from when that was
    seen; None is for ever. `retry_refusals`: what a node refuses is asked again, with backoff, instead of failed.
    `cancellable` while no worker has begun it.
    """

    name: str
    steps: tuple[Step, ...]
    settle: "Callable[[Task], None]"
    deadline_s: float | None = 600.0
    retry_refusals: bool = False
    cancellable: bool = True


@dataclass(frozen=True)
class Periodic:
    """A job that one of the workers does every so often. `every_s` is read at each turn."""

    name: str
    every_s: Callable[[], float]
    run: Callable[[], None]


@dataclass
class Registry:
    types: dict[str, TaskType] = field(default_factory=dict)
    periodic: dict[str, Periodic] = field(default_factory=dict)
    # What each worker does between two tasks, by name: quick where there is nothing to do.
    each_turn: dict[str, Callable[[], None]] = field(default_factory=dict)
    # Gives the ids of nodes whose tasks are passed over for now.
    unreachable_nodes: Callable[[], Collection[str]] = field(default=lambda: ())

    def add(self, *types: TaskType) -> None:
        for task_type in types:
            self.types[task_type.name] = task_type

    def add_periodic(self, *jobs: Periodic) -> None:
        for job in jobs:
            self.periodic[job.name] = job


registry = Registry()
