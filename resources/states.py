"""The states of a VM and what each allows, as data. The API, the admin, the catalogue and the tests read it."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    QUEUED = "queued"
    DEPLOYING = "deploying"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    ERROR = "error"


class Action(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    EDIT = "edit"
    DELETE = "delete"
    CONSOLE = "console"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"


ALLOWED: dict[Status, tuple[Action, ...]] = {
    Status.QUEUED: (Action.START, Action.EDIT, Action.DELETE),
    Status.DEPLOYING: (),
    Status.RUNNING: (Action.STOP, Action.RESTART, Action.CONSOLE, Action.SNAPSHOT, Action.RESTORE),
    Status.STOPPING: (),
    Status.STOPPED: (Action.START, Action.EDIT, Action.DELETE, Action.SNAPSHOT, Action.RESTORE),
    Status.FAILED: (Action.START, Action.EDIT, Action.DELETE),
    Status.ERROR: (Action.STOP, Action.RESTART, Action.DELETE, Action.CONSOLE),
}

# The status that an action's task shows while it runs. What is not here keeps the status.
WORKING: dict[Action, Status] = {
    Action.START: Status.DEPLOYING,
    Action.RESTART: Status.DEPLOYING,
    Action.STOP: Status.STOPPING,
}

# Actions that a running task does not keep from happening.
_UNTOUCHED_BY_A_TASK = (Action.CONSOLE,)


@dataclass(frozen=True)
class Look:
    """How a frontend shows a status."""

    color: str
    icon: str
    meaning: str


LOOKS: dict[Status, Look] = {
    Status.QUEUED: Look("gray", "⏳", "Waiting to deploy"),
    Status.DEPLOYING: Look("blue", "🔄", "Deploying"),
    Status.RUNNING: Look("green", "✅", "Running"),
    Status.STOPPING: Look("orange", "⏸️", "Stopping"),
    Status.STOPPED: Look("gray", "⏹️", "Stopped"),
    Status.FAILED: Look("red", "❌", "Deploy failed"),
    Status.ERROR: Look("red", "⚠️", "Runtime error"),
}


def said(status: str) -> str:
    """The status as a sentence goes on after "a VM that"."""
    return {"failed": "has failed", "error": "is in error"}.get(status, f"is {status}")


def statuses_allowing(action: Action) -> tuple[Status, ...]:
    return tuple(status for status, actions in ALLOWED.items() if action in actions)


def allowed_actions(status: str, has_task: bool, may_write: bool) -> list[str]:
    """What this caller may do to a VM now, in the order in which a page shows it."""
    if not may_write:
        return []
    return [str(action) for action in ALLOWED[Status(status)] if not has_task or action in _UNTOUCHED_BY_A_TASK]
