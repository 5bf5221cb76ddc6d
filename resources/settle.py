"""What becomes of a VM when its task ends: the second half of `resources.actions`, in the task's last transaction.

Each function takes an ended task. They write with `task=<this task>` in the condition, so that a VM which has
moved on is left alone.
"""

from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils import timezone

from resources import console, guest_console, holdings, logs, secrets
from resources.models import VirtualMachine
from resources.states import Status
from tasks.models import Task, TaskStatus
from vmbackends.addresses import usable_ipv4

# Why a VM is in `error`, where what its node shows later puts it right.
NODE_ABSENT = "node_absent"
NODE_LOST = "node_lost"
GUEST_PAUSED = "guest_paused"
PASSING = (NODE_ABSENT, NODE_LOST, GUEST_PAUSED)


def release(task: Task, **columns: Any) -> bool:
    """Give the VM back from its task with these columns; False if the task does not hold it."""
    changed = VirtualMachine.objects.filter(pk=task.subject_id, task=task).update(
        task=None, version=F("version") + 1, updated_at=timezone.now(), **columns
    )
    return bool(changed)


def after_deploy(task: Task) -> None:
    """The first deploy: undone it is `failed` and may be tried again; not known or not undone it is `error`."""
    if task.status == TaskStatus.SUCCEEDED:
        _came_up(task, "VM started successfully")
        secrets.wipe(task.subject_id)
    elif task.status == TaskStatus.CANCELLED:
        _put_back(task)
    elif task.outcome.get("undone"):
        release(
            task, status=Status.FAILED, deployed=False, desired_on=False, error_message=_short(task), error_reason=""
        )
        logs.record(task.subject_id, "error", f"Deploy failed, and what it had begun was removed: {_short(task)}")
    else:
        _broke(task, "Deploy failed")


def after_start(task: Task) -> None:
    """A later start, or a restart: the disk is kept whatever happens."""
    if task.status == TaskStatus.SUCCEEDED:
        _came_up(task, "VM restarted successfully" if task.type == "vm-restart" else "VM started successfully")
        secrets.wipe(task.subject_id)  # of a first deploy that had come to no end
    elif task.status == TaskStatus.CANCELLED:
        _put_back(task)
    elif task.type == "vm-restart" and was_refused_before(task, "shutdown") and _may_run(task):
        _put_back(task, "error", f"It was not restarted, and nothing was touched: {_short(task)}")
    else:
        _broke(task, "Restart failed" if task.type == "vm-restart" else "Start failed")


def after_stop(task: Task) -> None:
    """Off only where the node has seen it off; never by the passing of time."""
    if task.status == TaskStatus.SUCCEEDED:
        well = {"error_message": "", "error_reason": "", "node_rebooted": False}
        release(task, status=Status.STOPPED, stopped_at=timezone.now(), **well)
        logs.record(task.subject_id, "info", "VM stopped")
    elif task.status == TaskStatus.CANCELLED:
        _put_back(task)
    else:
        _broke(task, "Stop failed")


def after_delete(task: Task) -> None:
    """Everything is given back when domain and volumes were seen gone, and not before."""
    if task.status != TaskStatus.SUCCEEDED:
        release(task, error_message=_short(task))
        return
    vm = VirtualMachine.objects.get(pk=task.subject_id)
    if release(task, deployed=False, error_message=""):
        holdings.give_back(vm)
        secrets.wipe(vm.id)
        guest_console.forget(vm.id)
        logs.record(vm.id, "info", "VM removed from its node")


def _came_up(task: Task, message: str) -> None:
    now = timezone.now()
    columns: dict[str, Any] = {"started_at": now, "stopped_at": None, "desired_on": True, "node_rebooted": False}
    if task.state.get("on_since"):
        columns["desired_since"] = datetime.fromisoformat(task.state["on_since"])
    if address := usable_ipv4(task.state.get("ip_address")):
        columns["ip_address"] = address
    if release(task, status=Status.RUNNING, error_message="", error_reason="", **columns):
        logs.record(task.subject_id, "info", message)


def _broke(task: Task, what: str) -> None:
    absent = node_was_absent(task)
    columns: dict[str, Any] = {"error_reason": NODE_ABSENT if absent else ""}
    if absent and task.type == "vm-start" and task.created_by is None:
        columns["node_rebooted"] = True  # for which it was to come on again, and still is
    release(task, status=Status.ERROR, error_message=_short(task), **columns)
    console.close_consoles(task.subject_id)
    logs.record(task.subject_id, "error", f"{what}: {_short(task)}")


def node_was_absent(task: Task) -> bool:
    """Whether that is why it failed, for all that can be told: what the node shows next puts its VM right."""
    return task.outcome.get("reason") == "deadline" or bool(task.state.get("power_lost"))


def as_it_was(vm: VirtualMachine) -> dict[str, Any]:
    """What a task's payload has of its VM, to be put back if it is cancelled."""
    return {
        "from": vm.status,
        "was_deployed": vm.deployed,
        "was_on": vm.desired_on,
        "on_since": vm.desired_since.isoformat() if vm.desired_since else None,
        "error": vm.error_message,
        "error_reason": vm.error_reason,
    }


def _may_run(task: Task) -> bool:
    """Whether its guest ran when it was asked for, or may have: what its node shows next puts the VM right."""
    return task.payload["from"] == Status.RUNNING or task.payload.get("error_reason") in PASSING


def was_refused_before(task: Task, step: str) -> bool:
    """Whether it failed before this step was begun, which is the first that changes something."""
    return task.outcome.get("reason") == "refused" and step not in task.state.get("asked", {})


def _put_back(task: Task, level: str = "info", why: str = "The request was cancelled before it began") -> None:
    """The VM is as it was before it was asked for."""
    before = task.payload
    since = before.get("on_since")
    release(
        task,
        status=before["from"],
        deployed=before["was_deployed"],
        desired_on=before["was_on"],
        desired_since=datetime.fromisoformat(since) if since else None,
        error_message=before.get("error", ""),
        error_reason=before.get("error_reason", ""),
    )
    logs.record(task.subject_id, level, why)


def _short(task: Task) -> str:
    return (task.error or "The task ended without saying why. Ask an operator to look at the worker's log.")[:1000]
