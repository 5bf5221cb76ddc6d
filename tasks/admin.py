"""Tasks and workers, to be looked at: what changes them are actions and workers alone."""

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest

from common.admin import ReadOnlyAdmin
from tasks.models import HEARTBEAT_LIMIT, Beat, Task, Worker


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "type", "status", "progress", "message", "subject_id", "created_at", "finished_at")
    list_filter = ("status", "type")
    search_fields = ("=id", "=subject_id", "=node_id", "=org_id", "worker", "error")
    search_help_text = "An id of a task, VM, node or organization; a worker; words of an error"
    fieldsets = (
        (None, {"fields": ("public_id", "type", "status", "progress", "message", "error")}),
        ("About", {"fields": ("subject_id", "org_id", "node_id", "created_by", "payload", "outcome")}),
        ("Times", {"fields": ("created_at", "started_at", "finished_at", "not_before", "deadline_at")}),
        ("Worker", {"fields": ("worker", "attempt", "deaths", "lease_until", "node_slot", "state")}),
    )

    @admin.display(description="task")
    def public_id(self, task: Task) -> str:
        return task.public_id

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
