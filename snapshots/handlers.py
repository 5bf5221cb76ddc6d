"""What workers do for the tasks of a snapshot, and what becomes of it and its VM when they end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.utils import timezone

from resources import logs
from resources.handlers import deadline_s, define, load, power_on, wait_for_guest
from resources.models import VirtualMachine
from resources.settle import NODE_ABSENT, node_was_absent, release, was_refused_before
from resources.specs import vm_spec
from resources.states import Status
from snapshots.actions import correct, gigabytes, snapshot_spec
from snapshots.models import Snapshot, SnapshotStatus
from tasks.engine import Run
from tasks.models import Task, TaskStatus
from tasks.registry import Step, TaskType, Wait
from vmbackends import get_backend
from vmbackends.base import Power
from vmbackends.errors import BackendError, Busy, NotAsked, Untouched

# How often a worker looks how a node gets on with a snapshot.
_LOOK_AGAIN_S = 1.0


def _snapshot(run_or_task: Any) -> Snapshot:
    return Snapshot.objects.select_related("vm__node").get(pk=run_or_task.payload["snapshotId"])


@contextmanager
def _touching(run: Run) -> Iterator[None]:
    """Around a call that changes something, so that `untouched` is known of a task that failed."""
    try:
        yield
    except Untouched:
        # An earlier call may have begun what this one does not know of, as that of a worker that died.
        run.state["untouched"] = not run.state.get("touched") and not run.was_cut_off
        raise
    except (Busy, NotAsked):
        raise  # before anything was done
    except BackendError:
        run.state["touched"] = True
        raise
    run.state["touched"] = True


def _define_if_gone(run: Run) -> None:
    """One that is off may have been undefined by hand: its next start would define it anew, and so does this."""
    node, vm = load(run)
    if get_backend().power(node, vm_spec(vm)) is Power.MISSING and not _snapshot(run).with_memory:
        define(run)


def _create(run: Run) -> Wait | None:
    node, vm = load(run)
    with _touching(run):
        size = get_backend().create_snapshot(node, vm_spec(vm), snapshot_spec(_snapshot(run)))
    if size is None:
        return Wait(_LOOK_AGAIN_S)
    run.state["size"] = size
    return None


def _restore(run: Run) -> Wait | None:
    node, vm = load(run)
    # The power that it has now is the power that it shall have then; `desired_on` is not touched by a restore.
    with _touching(run):
        done = get_backend().restore_snapshot(node, vm_spec(vm), snapshot_spec(_snapshot(run)), run.asked_at())
    if not done:
        return Wait(_LOOK_AGAIN_S)
    run.state["restored"] = True
    return None


def _define_again(run: Run) -> None:
    """The snapshot has brought its definition with it, of a network perhaps that the VM has no more and another has.
    Memory fits no other, and what stays off is defined when it is started."""
    _, vm = load(run)
    if vm.desired_on and not _snapshot(run).with_memory:
        define(run)


def _power_on_again(run: Run) -> Wait | None:
    _, vm = load(run)
    return power_on(run) if vm.desired_on else None


def _wait_for_boot(run: Run) -> Wait | None:
    """With its memory a guest goes on where it was, and says nothing of a boot."""
    _, vm = load(run)
    return wait_for_guest(run) if vm.desired_on and not _snapshot(run).with_memory else None


def _delete(run: Run) -> Wait | None:
    node, vm = load(run)
    done = get_backend().delete_snapshot(node, vm_spec(vm), snapshot_spec(_snapshot(run)))
    return None if done else Wait(_LOOK_AGAIN_S)


def after_create(task: Task) -> None:
    snapshot = _snapshot(task)
    before = snapshot.reserved_gb
    if task.status == TaskStatus.SUCCEEDED:
        snapshot.status, snapshot.size = SnapshotStatus.COMPLETED, task.state["size"]
        snapshot.reserved_gb = gigabytes(snapshot.size)
        snapshot.with_memory = snapshot.with_memory and snapshot.size > 0  # its guest may have gone off meanwhile
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} completed")
    elif task.status == TaskStatus.CANCELLED:
        _forget(task, snapshot)
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} was cancelled before it began")
        return
    else:
        snapshot.status, snapshot.error = SnapshotStatus.FAILED, task.error[:1000]
        if _is_untouched(task, "create"):
            snapshot.reserved_gb = 0
        logs.record(task.subject_id, "error", f"Snapshot {snapshot.name!r} failed: {task.error}"[:1000])
    snapshot.save(update_fields=["status", "size", "error", "reserved_gb", "with_memory"])
    _set_held(task, snapshot.vm, snapshot.reserved_gb - before)


def after_restore(task: Task) -> None:
    """The status stands, unless nobody knows any more what the VM is."""
    snapshot = _snapshot(task)
    if task.status == TaskStatus.SUCCEEDED:
        columns: dict[str, Any] = {"started_at": timezone.now()} if snapshot.vm.desired_on else {}
        release(task, **columns)
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} restored")
    elif task.status == TaskStatus.CANCELLED:
        release(task)
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} was not restored; nothing was touched")
    elif _is_untouched(task, "restore"):
        release(task)
        why = f"Snapshot {snapshot.name!r} was not restored, and nothing was touched: {task.error}"
        logs.record(task.subject_id, "error", why[:1000])
    else:
        absent = NODE_ABSENT if node_was_absent(task) else ""
        release(task, status=Status.ERROR, error_message=task.error[:1000], error_reason=absent)
        what = f"Restore of snapshot {snapshot.name!r} failed"
        if task.state.get("restored"):
            what = f"Snapshot {snapshot.name!r} was restored, and then the VM did not come up"
        logs.record(task.subject_id, "error", f"{what}: {task.error}"[:1000])


def _is_untouched(task: Task, step: str) -> bool:
    """Of a task that failed: whether that was before, or by, a refusal of this step with which nothing was changed."""
    return was_refused_before(task, step) or bool(task.state.get("untouched"))


def after_delete(task: Task) -> None:
    snapshot = _snapshot(task)
    if task.status == TaskStatus.SUCCEEDED:
        _forget(task, snapshot)
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} deleted")
    elif task.status == TaskStatus.CANCELLED:
        release(task)
        logs.record(task.subject_id, "info", f"Snapshot {snapshot.name!r} was not deleted: that was cancelled")
    else:
        release(task)
        logs.record(task.subject_id, "error", f"Snapshot {snapshot.name!r} was not deleted: {task.error}"[:1000])


def _forget(task: Task, snapshot: Snapshot) -> None:
    vm, held = snapshot.vm, snapshot.reserved_gb
    snapshot.delete()
    _set_held(task, vm, -held)


def _set_held(task: Task, vm: VirtualMachine, more_gb: int) -> None:
    """Give the VM back from its task with what its snapshots hold now, and quota and room with it."""
    if release(task, snapshots_gb=vm.snapshots_gb + more_gb):
        correct(vm, more_gb)


TYPES = (
    TaskType(
        "snapshot-create",
        (
            Step("look", 10, "Looking for the domain", _define_if_gone),
            Step("create", 95, "Taking the snapshot", _create),
        ),
        settle=after_create,
    ),
    TaskType(
        "snapshot-restore",
        (
            Step("look", 5, "Looking for the domain", _define_if_gone),
            Step("restore", 70, "Restoring the snapshot", _restore),
            Step("define", 75, "Defining the domain", _define_again),
            Step("power-on", 80, "Powering on", _power_on_again),
            Step("boot", 95, "Waiting for the guest to come up", _wait_for_boot),
        ),
        settle=after_restore,
        deadline_s=deadline_s(settings.BOOT_SECONDS),
    ),
    TaskType("snapshot-delete", (Step("delete", 95, "Deleting the snapshot", _delete),), settle=after_delete),
)
