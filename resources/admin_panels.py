"""The tables below a VM's fields in the admin. Apps above add theirs to PANELS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from common.pages import may_view, moment
from resources.models import LogEntry, VirtualMachine
from tasks.models import Task

SHOWN = 50


@dataclass(frozen=True)
class Panel:
    """`rows` are escaped by the template. `link` leads to all of them, where there may be more."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    link: str = ""

    @property
    def table(self) -> dict[str, Any]:
        """What unfold's table component takes."""
        return {"headers": self.headers, "rows": [{"cols": row} for row in self.rows]}


PanelMaker = Callable[[HttpRequest, VirtualMachine], Panel | None]


def tasks_panel(request: HttpRequest, vm: VirtualMachine) -> Panel | None:
    if not may_view(request, "tasks.task"):
        return None
    tasks = Task.objects.filter(subject_id=vm.id)[:SHOWN]
    rows = [
        (
            format_html('<a href="{}" class="text-link">{}</a>', change_url("tasks_task", task.id), task.public_id),
            task.type,
            task.status,
            f"{task.progress} %",
            task.error or task.message,
            moment(task.created_at),
            moment(task.finished_at),
        )
        for task in tasks
    ]
    headers = ("Task", "Type", "Status", "Progress", "Message", "Created (UTC)", "Finished (UTC)")
    return Panel("Tasks", headers, rows, list_url("tasks_task", q=vm.id))


def log_panel(request: HttpRequest, vm: VirtualMachine) -> Panel | None:
    if not may_view(request, "resources.logentry"):
        return None
    newest = LogEntry.objects.filter(vm_id=vm.id).order_by("-at", "-id")[:SHOWN]
    rows = [(moment(entry.at), entry.level, entry.message) for entry in newest]
    return Panel("Log", ("Time (UTC)", "Level", "Message"), rows, list_url("resources_logentry", q=vm.id))


PANELS: list[PanelMaker] = [tasks_panel, log_panel]


def panels_of(request: HttpRequest, vm: VirtualMachine) -> list[Panel]:
    return [panel for make in PANELS if (panel := make(request, vm)) is not None]


# What panels are made of


def change_url(model: str, key: str) -> str:
    return reverse(f"admin:{model}_change", args=(key,))


def list_url(model: str, **parameters: str) -> str:
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(parameters)}"
