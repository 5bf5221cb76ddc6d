"""Tasks and workers, to be looked at: what changes them are actions and workers alone."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from common import pages
from common.admin import ReadOnlyAdmin
from tasks.models import HEARTBEAT_LIMIT, Beat, Task, TaskStatus, Worker

pages.add("task", Task, "type")


_COLORS = {
    TaskStatus.PENDING: "default",
    TaskStatus.RUNNING: "info",
    TaskStatus.SUCCEEDED: "success",
    TaskStatus.FAILED: "danger",
    TaskStatus.CANCELLED: "warning",
}
_LONGEST_MESSAGE = 160


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("task", "status_badge", "subject", "organization", "shown_message", "created", "took")
    list_filter = ("status", "type")
    search_fields = ("=id", "=subject_id", "=node_id", "=org_id", "worker", "error")
    search_help_text = "An id of a task, VM, node or organization; a worker; words of an error"
    fieldsets = (
        (None, {"fields": ("public_id", "type", "status_badge", "progress", "message", "error")}),
        ("About", {"fields": ("subject_link", "organization_link", "node_link", "creator", "payload", "outcome")}),
        ("Times", {"fields": ("created_at", "started_at", "finished_at", "not_before", "deadline_at")}),
        ("Worker", {"fields": ("worker", "attempt", "deaths", "lease_until", "node_slot", "state")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the names of what tasks are about, which only the apps above know."""
        tasks = super().get_queryset(request)
        return pages.with_names(request, tasks, vm="subject_id", node="subject_id", organization="org_id")

    @admin.display(description="id")
    def public_id(self, task: Task) -> str:
        return task.public_id

    # The list

    @admin.display(ordering="type")
    def task(self, task: Task) -> SafeString:
        return pages.cut(task.type, task.public_id)

    @admin.display(description="status", ordering="status")
    def status_badge(self, task: Task) -> SafeString:
        progress = f"{task.progress} %" if task.status == TaskStatus.RUNNING else ""
        return pages.lines(pages.badge_of(task.status, _COLORS[TaskStatus(task.status)]), progress)

    @admin.display(ordering="subject_id")
    def subject(self, task: Task) -> str | SafeString:
        links = (pages.named_in(task, kind, task.subject_id) for kind in ("vm", "node"))
        return next(filter(None, links), None) or pages.cut(pages.short(task.subject_id), task.subject_id)

    @admin.display(ordering="org_id")
    def organization(self, task: Task) -> str | SafeString:
        return pages.named_in(task, "organization", task.org_id) or pages.short(task.org_id or "-")

    @admin.display(description="message")
    def shown_message(self, task: Task) -> str:
        return Truncator(task.error or task.message or "-").chars(_LONGEST_MESSAGE)

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, task: Task) -> str:
        return pages.moment(task.created_at)

    @admin.display(description="took")
    def took(self, task: Task) -> str:
        if task.started_at is None or task.finished_at is None:
            return "-"
        seconds = (task.finished_at - task.started_at).total_seconds()
        return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"

    # The page of one

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        task = super().get_object(request, object_id, from_field)
        if task is not None:
            task.named = partial(pages.named, request)
        return task

    @admin.display(description="subject")
    def subject_link(self, task: Any) -> Any:
        return self.subject(task)

    @admin.display(description="organization")
    def organization_link(self, task: Any) -> Any:
        return task.named("organization", task.org_id)

    @admin.display(description="node")
    def node_link(self, task: Any) -> Any:
        return task.named("node", task.node_id)

    @admin.display(description="created by")
    def creator(self, task: Any) -> Any:
        return task.named("user", task.created_by)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found: tuple[Any, bool] = super().get_search_results(
            request, queryset, search_term.strip().removeprefix("task-")
        )
        return found


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("host", "pid", "is_alive", "started_at", "seen_at")
    list_filter = ("host",)
    search_fields = ("host", "=pid")

    def get_queryset(self, request: HttpRequest) -> Any:
        heard_of = Q(seen_at__gte=Now() - HEARTBEAT_LIMIT)
        return super().get_queryset(request).annotate(alive=ExpressionWrapper(heard_of, BooleanField()))

    @admin.display(description="alive", boolean=True)
    def is_alive(self, worker: Any) -> bool:
        return bool(worker.alive)


@admin.register(Beat)
class BeatAdmin(ReadOnlyAdmin):
    """When each periodic job is due next."""

    list_display = ("name", "next_at")
