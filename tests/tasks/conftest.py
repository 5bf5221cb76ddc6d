"""Task types for the tests: they note what was called, and do what the test tells them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from common.ids import new_object_id
from tasks import queue
from tasks.models import Task
from tasks.registry import Step, TaskType, registry


class Script:
    """What each step and undo is to do at its next call; without an entry it just succeeds."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.settled: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}

    def step(self, name: str) -> Callable[..., Any]:
        def call(run):
            self.calls.append(name)
            answer = self.answers.get(name)
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else None
            if isinstance(answer, BaseException):
                raise answer
            return answer(run) if callable(answer) else answer

        return call

    def settle(self, task: Task) -> None:
        self.settled.append((task.id, task.status))


@pytest.fixture
def script(monkeypatch) -> Script:
    """Registers, for one test, the types `three` (a, b, c; a and b can be undone) and `plain` (one step)."""
    script = Script()
    three = TaskType(
        "three",
        (
            Step("a", 30, "Doing a", script.step("a"), undo=script.step("undo a")),
            Step("b", 60, "Doing b", script.step("b"), undo=script.step("undo b")),
            Step("c", 90, "Doing c", script.step("c")),
        ),
        script.settle,
    )
    plain = TaskType("plain", (Step("only", 50, "Doing it", script.step("only")),), script.settle)
    types = (
        three,
        plain,
        replace(plain, name="stubborn", deadline_s=None, retry_refusals=True),
        replace(plain, name="fixed", cancellable=False),
    )
    monkeypatch.setattr(registry, "types", {each.name: each for each in types})
    monkeypatch.setattr(registry, "periodic", {})
    monkeypatch.setattr(registry, "unreachable_nodes", lambda: ())
    return script


@pytest.fixture
def make(script) -> Callable[..., Task]:
    def make(type_name="plain", **kwargs) -> Task:
        row = {"subject_id": new_object_id(), "node_id": None, "org_id": None, "created_by": None} | kwargs
        return queue.enqueue(type_name, **row)

    return make


@pytest.fixture
def pass_time() -> Callable[..., None]:
    """The times that decide are the database's, which no test can move: so the rows' times are moved back."""

    def move(task: Task, *fields: str) -> None:
        Task.objects.filter(pk=task.pk).update(**dict.fromkeys(fields, Now() - timedelta(seconds=1)))

    return move
