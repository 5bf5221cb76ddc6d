"""Runs one claimed task, step by step, until it ends, waits, or is lost to another worker.

Delivery is at least once: a task ends once, a step may be repeated. Every write names the attempt that the worker
holds; a write that meets no row means that another worker has the task, and then nothing more is touched.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from common.db import atomic
from common.errors import DomainError
from tasks.models import Task, TaskStatus
from tasks.queue import lease
from tasks.registry import Step, TaskType, Wait, registry
from vmbackends.errors import BackendError, Busy, NodeUnreachable

log = logging.getLogger(__name__)

# So many workers may die on one step of a task before it is taken for the cause.
MAX_DEATHS = 5
# And so often may the database fail in it: which is no fault of the step, unless it does so each time.
MAX_INTERRUPTIONS = 20
BACKOFF_SECONDS = (5, 10, 20, 40, 60)
# How often a step asks whether its turn has come, and from when on its task's deadline runs although it has not.
TURN_SECONDS = 1.0
# Until a task is taken again whose run ended with the database's failure: if that was of its doing, others come first.
AFTER_FAILURE = timedelta(seconds=5)
LONGEST_TURN = timedelta(minutes=30)

Reason = Literal["succeeded", "refused", "deadline", "deaths", "cancelled", "bug"]


class LeaseLost(Exception):
    """Another worker has the task, or it has ended: stop at once and touch nothing."""


class Host:
    """What a worker process adds around a task. This one adds nothing, for tests and the shell."""

    @contextmanager
    def guard(self, seconds: float) -> Iterator[None]:
        """End the process if the block takes longer."""
        yield

    def beat(self) -> None:
        """Say that the worker lives."""

    def stopping(self) -> bool:
        """Whether to give the task back after this step."""
        return False


@dataclass
class Run:
    """One worker's hold of a task. `state` is the steps' own memory: it is kept at each renewal and each wait.

    The engine's own keys in it are `step`, `asked`, `tries`, `trouble`, `survived`, `interrupted`, `overcome` and
    `failing`.
    """

    task: Task
    host: Host = field(default_factory=Host)
    state: dict[str, Any] = field(init=False)
    _step: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.state = dict(self.task.state)
        self.state.setdefault("step", 0)
        self.state.setdefault("asked", {})

    @property
    def payload(self) -> dict[str, Any]:
        return dict(self.task.payload)

    @property
    def deaths_at_step(self) -> int:
        """How many workers have died on the task since a step of it was last done."""
        return int(self.task.deaths - self.state.get("survived", 0))

    @property
    def interruptions_at_step(self) -> int:
        """How often the database has ended a run of the task since a step of it was last done."""
        return int(self.state.get("interrupted", 0) - self.state.get("overcome", 0))

    @property
    def was_cut_off(self) -> bool:
        """Whether a call of the task may have been made that nobody has written down."""
        return self.task.deaths > 0 or "interrupted" in self.state

    def asked_at(self) -> datetime:
        """When the current step was first called, by whichever worker."""
        return datetime.fromisoformat(self.state["asked"][self._step])

    def renew(self) -> None:
        """Keep the task for another lease, and what is in `state`. Raises LeaseLost."""
        self._write(progress=self.task.progress, message=self.task.message, lease_until=Now() + lease())
        self.host.beat()

    def enter(self, step: Step, message: str, progress: int) -> None:
        """Renew before a step or its undo."""
        self._step = step.name
        self.state["asked"].setdefault(step.name, timezone.now().isoformat())
        self.task.message = message[:500]
        self.task.progress = max(self.task.progress, progress)
        self.renew()

    def release(self, message: str, *, seconds: float | None = None, error: str = "") -> None:
        """Give the worker back, and the task to whoever takes it after `seconds`. Raises LeaseLost."""
        self.task.message = message[:500]
        self._write(
            progress=self.task.progress,
            message=self.task.message,
            error=error,
            not_before=None if seconds is None else Now() + timedelta(seconds=seconds),
            lease_until=None,
            node_slot=None,
        )

    def wait_for_its_turn(self, message: str) -> None:
        """Release a step that others keep from beginning: its time does not run, but for ever. Raises LeaseLost."""
        if _lately(self.asked_at()):
            self._write(deadline_at=None)
        self.release(message, seconds=TURN_SECONDS)

    def _write(self, **changes: Any) -> None:
        if not _write_fenced(self.task, state=self.state, **changes):
            raise LeaseLost(self.task.public_id)


def run_task(task: Task, host: Host | None = None) -> None:
    """Run a task that `queue.take` gave until it ends or is given back."""
    run = Run(task, host or Host())
    try:
        _run(run, registry.types[task.type])
    except LeaseLost:
        log.warning("task lost to another worker", extra={"task": task.id, "attempt": task.attempt})


@atomic
def give_back(task: Task) -> None:
    """Leave a task to others that `run_task` did not end because the database failed: what was written last counts, and
    nobody has died. Does nothing where it has ended, or another worker has it."""
    state = Task.objects.values_list("state", flat=True).get(pk=task.pk)
    state["interrupted"] = state.get("interrupted", 0) + 1
    _write_fenced(task, state=state, not_before=Now() + AFTER_FAILURE, lease_until=None, node_slot=None)


def _run(run: Run, task_type: TaskType) -> None:
    if run.deaths_at_step >= MAX_DEATHS or run.interruptions_at_step >= MAX_INTERRUPTIONS:
        _fail(run, task_type, "deaths", _text_of_deaths(run, task_type))
    elif "failing" in run.state:
        _undo(run, task_type)
    elif Task.objects.filter(pk=run.task.pk, deadline_at__lte=Now()).exists():
        _fail(run, task_type, "deadline", _text_of_deadline(run, task_type))
    else:
        _do(run, task_type)


def _do(run: Run, task_type: TaskType) -> None:
    for index in range(run.state["step"], len(task_type.steps)):
        step = task_type.steps[index]
        try:
            with run.host.guard(_limit(step)):  # from before the lease begins: it must not end after that
                run.enter(step, step.message, task_type.steps[index - 1].progress if index else 0)
                answer = step.do(run)
        except NodeUnreachable as e:
            log.warning("node out of reach", extra={"task": run.task.id, "step": step.name, "reason": e.message})
            text = run.state["trouble"] = _text_of_absence(e)
            run.release(f"{text}; trying again", seconds=_next_try(run))
            return
        except Busy as e:
            run.wait_for_its_turn(_text_of_turn(e))
            return
        except (BackendError, DomainError) as e:
            if task_type.retry_refusals:
                run.state["trouble"] = e.message.rstrip(".")
                run.release("Refused; trying again", seconds=_next_try(run), error=e.message)
            else:
                _begin_undo(run, task_type, "refused", e.message)
            return
        except (LeaseLost, OperationalError, InterfaceError):
            raise  # a database that fails is no fault of the step, which is repeated
        except Exception:
            log.exception("a step failed", extra={"task": run.task.id, "step": step.name})
            _begin_undo(run, task_type, "bug", _text_of_bug(run))
            return
        run.state.pop("tries", None)
        run.state.pop("trouble", None)
        if isinstance(answer, Wait):
            run.release(answer.message or step.message, seconds=answer.seconds)
            return
        run.state["step"] = index + 1
        run.state["survived"] = run.task.deaths  # whatever they died of, this step was done in the end
        run.state["overcome"] = run.state.get("interrupted", 0)
        run.task.progress = max(run.task.progress, step.progress)
        if run.host.stopping() and index + 1 < len(task_type.steps):
            run.release(step.message)
            return
    end(run, task_type, TaskStatus.SUCCEEDED, "succeeded", undone=None)


def _begin_undo(run: Run, task_type: TaskType, reason: Reason, error: str) -> None:
    """Note the failure before anything is taken back, so that a worker that is killed is followed in undoing."""
    run.state["failing"] = {"reason": reason, "message": error, "at": run.state["step"]}
    run.renew()
    _undo(run, task_type)


def _undo(run: Run, task_type: TaskType) -> None:
    """Take back the begun steps, the last first, and stop where one cannot be: what lies under it is still in use."""
    failing = run.state["failing"]
    undone = True
    for index in range(failing["at"], -1, -1):
        step = task_type.steps[index]
        if step.undo is None or step.name not in run.state["asked"]:
            continue
        if failing["at"] != index or "since" not in failing:
            failing["since"] = timezone.now().isoformat()
        failing["at"] = index
        try:
            with run.host.guard(_limit(step)):
                run.enter(step, f"Undoing: {step.message}", 0)
                step.undo(run)
        except (LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as e:
            if isinstance(e, Busy) and _lately(datetime.fromisoformat(failing["since"])):
                run.release(_text_of_turn(e), seconds=TURN_SECONDS)
                return
            log.exception("an undo failed", extra={"task": run.task.id, "step": step.name, "reason": str(e)})
            undone = False
            break
        if run.host.stopping() and index:
            failing["at"] = index - 1
            failing.pop("since", None)  # which was this step's
            run.release(run.task.message)
            return
    _fail(run, task_type, failing["reason"], failing["message"], undone=undone)


def _fail(run: Run, task_type: TaskType, reason: Reason, error: str, *, undone: bool = False) -> None:
    can_undo = any(step.undo is not None for step in task_type.steps)
    end(run, task_type, TaskStatus.FAILED, reason, undone=undone if can_undo else None, error=error)


@atomic
def end(
    run: Run, task_type: TaskType, status: TaskStatus, reason: Reason, *, undone: bool | None, error: str = ""
) -> None:
    """End the task and settle its subject, in one transaction: they never differ. Raises LeaseLost."""
    succeeded = status == TaskStatus.SUCCEEDED
    ended = _write_fenced(
        run.task,
        status=status,
        finished_at=Now(),
        progress=100 if succeeded else run.task.progress,
        message="Done" if succeeded else "Failed",
        error=error,
        outcome={"reason": reason, "undone": undone},
        state=run.state,
        lease_until=None,
        node_slot=None,
    )
    if not ended:
        raise LeaseLost(run.task.public_id)
    run.task.refresh_from_db()
    task_type.settle(run.task)


@atomic
def _write_fenced(task: Task, **changes: Any) -> bool:
    held = Task.objects.filter(pk=task.pk, attempt=task.attempt, worker=task.worker, status=TaskStatus.RUNNING)
    return held.filter(lease_until__isnull=False).update(**changes) == 1


def _lately(moment: datetime) -> bool:
    """Whether what has waited for its turn since then may wait on."""
    return timezone.now() - moment < LONGEST_TURN


def _limit(step: Step) -> float:
    # Never as long as the lease: a worker that hangs must be gone before another takes the task.
    return min(step.deadline_s, settings.LEASE_SECONDS * 0.9)


def _next_try(run: Run) -> float:
    tries = run.state["tries"] = run.state.get("tries", 0) + 1
    return BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS)) - 1]


def _text_of_absence(error: NodeUnreachable) -> str:
    # The rest of a backend's message is for operators; they find it in the log.
    name = re.search(r"\b[Nn]ode (\S+)", error.message)
    return f"{name[1] if name else 'The node'} {'is too busy' if error.busy else 'cannot be reached'}"


def _text_of_turn(busy: Busy) -> str:
    return f"Waiting for its turn: {busy.message.rstrip('.')}"


def _text_of_deadline(run: Run, task_type: TaskType) -> str:
    task = run.task
    last = run.state.get("trouble")
    if last is None:
        begun = bool(run.state["asked"])
        last = f"This was not done in time: {task.message}" if begun else "The node cannot be reached"
    tried = "" if task_type.deadline_s is None else f" after {task_type.deadline_s / 60:g} minutes"
    return (
        f"{last}. Given up{tried}; it is not known whether it runs. "
        "Its state is read again when the node answers; if that takes long, ask an operator."
    )


def _text_of_deaths(run: Run, task_type: TaskType) -> str:
    failing = run.state.get("failing")
    step = task_type.steps[min(failing["at"] if failing else run.state["step"], len(task_type.steps) - 1)]
    doing = f"while it took back the step {step.name!r}" if failing else f"at the step {step.name!r}"
    why = f" {failing['message']}" if failing else ""
    deaths = run.deaths_at_step
    what = f"The worker died {deaths} times" if deaths >= MAX_DEATHS else "The database failed again and again"
    return f"{what} {doing}, so it is not tried again. An operator should look at the worker's log.{why}"


def _text_of_bug(run: Run) -> str:
    return f"Something went wrong that should not have. Tell an operator: {run.task.public_id}."
