"""The API of nodes: everybody reads, operators write."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.actors import Actor
from accounts.idempotency import idempotent
from common.etags import etag, required_versions
from common.paging import parse_page
from common.validation import EmptyBody, parse
from nodes import actions, documentation
from nodes.models import Node
from nodes.queries import documents, find_node, list_page
from nodes.requests import NodeCreate, NodePatch


class NodeView(ViewSet):
    """Nodes, their GPUs and what of them is free. A node's fields from `uri` on are shown to operators alone."""

    @extend_schema(**documentation.LIST)
    def list(self, request: Request) -> Response:
        return Response(list_page(_actor(request), parse_page(request.query_params)))

    @extend_schema(**documentation.CREATE)
    @idempotent
    def create(self, request: Request) -> Response:
        actor = _actor(request)
        actor.require_operator()  # before the body is looked at: nobody else learns what it takes
        node = actions.create(actor, parse(NodeCreate, request.data))
        return _answer(actor, node, status=201, headers={"Location": f"/resources/nodes/{node.id}"})

    @extend_schema(**documentation.GET)
    def retrieve(self, request: Request, node_id: str) -> Response:
        actor = _actor(request)
        return _answer(actor, find_node(node_id))

    @extend_schema(**documentation.PATCH)
    def partial_update(self, request: Request, node_id: str) -> Response:
        actor = _operator_of(request, node_id)
        versions = required_versions(request.headers.get("If-Match"))
        return _answer(actor, actions.update(actor, node_id, parse(NodePatch, request.data), versions))

    @extend_schema(**documentation.DELETE)
    def destroy(self, request: Request, node_id: str) -> Response:
        actor = _operator_of(request, node_id)
        parse(EmptyBody, request.data or {})
        actions.delete(actor, node_id, required_versions(request.headers.get("If-Match")))
        return Response({"success": True, "message": "Node deleted successfully"})

    @extend_schema(**documentation.REFRESH)
    @idempotent
    def refresh(self, request: Request, node_id: str) -> Response:
        actor = _operator_of(request, node_id)
        parse(EmptyBody, request.data or {})
        task = actions.refresh(actor, node_id)
        return Response({"success": True, "message": "Node refresh started", "taskId": task.public_id}, status=202)


def _actor(request: Request) -> Actor:
    return cast(Actor, request.user)


def _operator_of(request: Request, node_id: str) -> Actor:
    """Who asks to change this node: before a header or body is looked at, so that nobody else learns what it takes."""
    actor = _actor(request)
    find_node(node_id)
    actor.require_operator()
    return actor


def _answer(actor: Actor, node: Node, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    document: dict[str, Any] = documents(actor, [node])[0]
    return Response(document, status=status, headers={"ETag": etag(node.version), **(headers or {})})
