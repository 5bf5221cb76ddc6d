"""Calling a task off."""

import pytest

from common.errors import Conflict, NotFound
from common.ids import new_object_id
from tasks import queue
from tasks.models import TaskStatus
from tasks.registry import Wait
from tasks.worker import drain

pytestmark = pytest.mark.django_db


def test_it_cancels_what_no_worker_has_begun(make, script):
    task = queue.cancel(make().id)
    assert (task.status, task.outcome) == (TaskStatus.CANCELLED, {"reason": "cancelled", "undone": None})
    assert task.finished_at is not None
    assert script.settled == [(task.id, "cancelled")]
    assert drain() == 0
    assert script.calls == []


def test_it_refuses_what_has_begun(make, script):
    task = make()
    script.answers["only"] = [Wait(60)]
    drain()
    with pytest.raises(Conflict, match="has begun"):
        queue.cancel(task.id)
    assert script.settled == []


def test_it_refuses_what_has_ended(make, script):
    task = make()
    drain()
    with pytest.raises(Conflict, match="already ended"):
        queue.cancel(task.id)
    assert script.settled == [(task.id, "succeeded")]


def test_it_refuses_a_second_time(make, script):
    task = make()
    queue.cancel(task.id)
    with pytest.raises(Conflict, match="already ended"):
        queue.cancel(task.id)
    assert len(script.settled) == 1


def test_it_refuses_a_kind_that_cannot_be(make, script):
    task = make("fixed")
    with pytest.raises(Conflict, match="cannot be cancelled"):
        queue.cancel(task.id)
    drain()
    assert script.calls == ["only"]


def test_it_knows_no_such_task(script):
    with pytest.raises(NotFound):
        queue.cancel(new_object_id())


def test_it_leaves_the_task_when_settling_fails(make, script, monkeypatch):
    task = make()

    def broken(ended):
        raise RuntimeError

    monkeypatch.setattr(script, "settle", broken)
    from dataclasses import replace

    from tasks.registry import registry

    registry.types["plain"] = replace(registry.types["plain"], settle=broken)
    with pytest.raises(RuntimeError):
        queue.cancel(task.id)
    task.refresh_from_db()
    assert task.status == TaskStatus.PENDING


def test_it_aborts_once(make, script):
    task = make()
    assert queue.abort(task.id, reason="lost", error="The node is lost.")
    assert not queue.abort(task.id, reason="lost", error="The node is lost.")
    assert script.settled == [(task.id, "failed")]
