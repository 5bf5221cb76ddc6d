"""The API of what a VM does: its logs, metrics, events and console."""

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import read_again
from common.errors import ValidationFailed
from common.paging import parameter_faults, parse_page
from resources import console, documentation, events, logs, metrics
from resources.queries import find_vm
from resources.views import actor_of


class LogsView(ViewSet):
    @extend_schema(**documentation.LOGS)
    def list(self, request: Request, resource_id: str) -> Response | HttpResponse:
        vm = find_vm(actor_of(request), resource_id)
        query = logs.parse_query(request.query_params)
        lines = logs.read(vm, query.limit, query.level, query.since)
        if query.format == "text":
            return HttpResponse(
                logs.as_text(lines),
                content_type="text/plain; charset=utf-8",
                headers={"Content-Disposition": f'attachment; filename="vm-{vm.id}.log"'},
            )
        return Response(logs.as_document(vm, lines))


class MetricsView(ViewSet):
    @extend_schema(**documentation.METRICS)
    def retrieve(self, request: Request, resource_id: str) -> Response:
        return Response(metrics.current(find_vm(actor_of(request), resource_id)))

    @extend_schema(**documentation.METRICS_HISTORY)
    def history(self, request: Request, resource_id: str) -> Response:
        vm = find_vm(actor_of(request), resource_id)
        faults = parameter_faults(request.query_params, {"range"})
        if faults:
            raise ValidationFailed(faults)
        return Response(metrics.history(vm, request.query_params.get("range", "1h")))


class EventsView(ViewSet):
    @extend_schema(**documentation.EVENTS)
    def list(self, request: Request, resource_id: str) -> Response:
        return Response(events.list_page(actor_of(request), resource_id, parse_page(request.query_params)))


class ConsoleView(ViewSet):
    @extend_schema(**documentation.CONSOLE)
    def retrieve(self, request: Request, resource_id: str) -> Response:
        answer = console.open_console(read_again(actor_of(request)), resource_id)
        return Response(answer, headers={"Cache-Control": "no-store"})
