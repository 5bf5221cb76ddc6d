"""The API of tasks: those of VMs, of their snapshots, and of nodes."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.idempotency import idempotent
from common.paging import pagination_document, parse_page
from common.validation import EmptyBody, parse
from resources import documentation
from resources.queries import find_row
from resources.task_actions import cancel_task, find_task, visible_tasks
from resources.views import actor_of
from tasks.documents import task_document
from tasks.models import Task


def _page(request: Request, tasks: QuerySet[Task]) -> Response:
    page = parse_page(request.query_params)
    rows = tasks.order_by("-created_at", "-id")[page.offset : page.end]
    return Response(
        {"data": [task_document(task) for task in rows], "pagination": pagination_document(tasks.count(), page)}
    )


class TaskView(ViewSet):
    @extend_schema(**documentation.TASKS)
    def list(self, request: Request) -> Response:
        return _page(request, visible_tasks(actor_of(request)))

    @extend_schema(**documentation.TASKS_OF_VM)
    def of_vm(self, request: Request, resource_id: str) -> Response:
        row = find_row(actor_of(request), resource_id)
        return _page(request, Task.objects.filter(subject_id=row.id))

    @extend_schema(**documentation.TASK)
    def retrieve(self, request: Request, task_id: str) -> Response:
        return Response(task_document(find_task(actor_of(request), task_id)))

    @extend_schema(**documentation.TASK_CANCEL)
    @idempotent
    def cancel(self, request: Request, task_id: str) -> Response:
        actor = actor_of(request)
        find_task(actor, task_id)
        actor.require_write()
        parse(EmptyBody, request.data or {})
        return Response(task_document(cancel_task(actor, task_id)))
