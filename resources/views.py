"""The API of VMs: who may, which object; what is valid and what happens is in the modules that these call."""

import hashlib
from collections.abc import Callable

import orjson
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.actors import Actor
from accounts.authentication import owning_org
from accounts.idempotency import idempotent, idempotent_after_preparing
from common.etags import etag, is_unchanged, required_versions, viewers_etag
from common.validation import EmptyBody, parse
from nodes.models import NodeImage
from resources import actions, documentation
from resources.catalog import catalog
from resources.documents import detail_document, row_of, status_document
from resources.pricing import estimate, parse_estimate
from resources.queries import find_row, list_page, parse_list_query, require_known
from resources.requests import ForceBody
from tasks.models import Task


def actor_of(request: Request) -> Actor:
    actor: object = request.user
    assert isinstance(actor, Actor)
    return actor


def writer_of(request: Request, vm_id: str) -> Actor:
    """Who asks to change this VM: what they may not know of is not found, before a body or header is looked at."""
    actor = actor_of(request)
    require_known(actor, vm_id)
    actor.require_write()
    return actor


def accepted(message: str, task: Task) -> Response:
    return Response({"success": True, "message": message, "taskId": task.public_id}, status=202)


class VirtualMachineView(ViewSet):
    """Create, list, get, update and delete VMs."""

    @extend_schema(**documentation.LIST)
    def list(self, request: Request) -> Response | HttpResponse:
        page = list_page(actor_of(request), parse_list_query(request.query_params))
        # Written here and not by the renderer, because the tag is of the body: it would be written twice.
        body = orjson.dumps(page)
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
        if is_unchanged(request.headers.get("If-None-Match"), headers["ETag"]):
            return Response(status=304, headers=headers)
        return HttpResponse(body, content_type="application/json", headers=headers)

    @extend_schema(**documentation.CREATE)
    @idempotent_after_preparing
    def create(self, request: Request) -> Callable[[], Response]:
        actor = actor_of(request)
        org_id = owning_org(actor, request.headers.get("X-Org-Id"))
        actor.require_write()  # before the body is looked at
        reserve = actions.prepare(actor, request.data, org_id)

        def act() -> Response:
            row = row_of(reserve())
            headers = {"Location": f"/resources/{row.id}", "ETag": etag(row.version)}
            return Response(detail_document(row, actor.may_write), status=201, headers=headers)

        return act

    @extend_schema(**documentation.GET)
    def retrieve(self, request: Request, resource_id: str) -> Response:
        actor = actor_of(request)
        row = find_row(actor, resource_id)
        headers = {"ETag": etag(row.version) if actor.may_write else viewers_etag(row.version)}
        if is_unchanged(request.headers.get("If-None-Match"), headers["ETag"]):
            return Response(status=304, headers=headers)
        return Response(detail_document(row, actor.may_write), headers=headers)

    @extend_schema(**documentation.PATCH)
    def partial_update(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        row = actions.update(actor, resource_id, request.data, required_versions(request.headers.get("If-Match")))
        return Response(detail_document(row, actor.may_write), headers={"ETag": etag(row.version)})

    @extend_schema(**documentation.DELETE)
    def destroy(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        parse(EmptyBody, request.data or {})
        task = actions.delete(actor, resource_id, required_versions(request.headers.get("If-Match")))
        if task is None:
            return Response({"success": True, "message": "VM deleted successfully"})
        return accepted("VM deleted successfully", task)


class LifecycleView(ViewSet):
    """Start, stop and restart: each answers with the task that does it."""

    @extend_schema(**documentation.START)
    @idempotent
    def start(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        parse(EmptyBody, request.data or {})
        task = actions.start(actor, resource_id, required_versions(request.headers.get("If-Match")))
        return accepted("VM start command sent successfully", task)

    @extend_schema(**documentation.STOP)
    @idempotent
    def stop(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        versions = required_versions(request.headers.get("If-Match"))
        task = actions.stop(actor, resource_id, _force(request), versions)
        return accepted("VM stop command sent successfully", task)

    @extend_schema(**documentation.RESTART)
    @idempotent
    def restart(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        versions = required_versions(request.headers.get("If-Match"))
        task = actions.restart(actor, resource_id, _force(request), versions)
        return accepted("VM restart command sent successfully", task)


def _force(request: Request) -> bool:
    return parse(ForceBody, request.data or {}).force


class StatusView(ViewSet):
    @extend_schema(**documentation.STATUS)
    def retrieve(self, request: Request, resource_id: str) -> Response:
        actor = actor_of(request)
        return Response(status_document(find_row(actor, resource_id), actor.may_write, timezone.now()))


class CatalogView(ViewSet):
    """What a form needs, so that no frontend hard-codes it."""

    @extend_schema(**documentation.CATALOG)
    def list(self, request: Request) -> Response:
        nodes_by_image: dict[str, list[str]] = {}
        for os_image, node_id in NodeImage.objects.order_by("node__name").values_list("os_image", "node_id"):
            nodes_by_image.setdefault(os_image, []).append(node_id)
        return Response(catalog(nodes_by_image))

    @extend_schema(**documentation.ESTIMATE)
    @idempotent
    def estimate(self, request: Request) -> Response:
        return Response(estimate(parse_estimate(request.data).config))
