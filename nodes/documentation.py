"""What the OpenAPI document says of each operation on nodes: the arguments of `@extend_schema`."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse

from common.openapi import IDEMPOTENCY_KEY, IF_MATCH, PAGE, etag, path_id, replayed, response_header
from common.schemas import OBJECT_ID
from nodes.documents import NodeDocument, NodeDoneDocument, NodeListDocument, NodeTaskDocument
from nodes.requests import NodeCreate, NodePatch

_TAGS = ["Nodes"]
_NODE = path_id("node_id", OBJECT_ID, "The node's id", "675a1b2c3d4e5f6a7b8c9d0e")

LIST: dict[str, Any] = {
    "operation_id": "listNodes",
    "tags": _TAGS,
    "summary": "List nodes",
    "description": "By name, with their GPUs and what of each is free.",
    "parameters": PAGE,
    "responses": {200: OpenApiResponse(NodeListDocument, "A page of nodes")},
}

CREATE: dict[str, Any] = {
    "operation_id": "createNode",
    "tags": _TAGS,
    "summary": "Add a node (operators)",
    "parameters": [
        IDEMPOTENCY_KEY,
        response_header("Location", "The path of the node.", 201),
        etag(201),
        replayed(201),
    ],
    "request": NodeCreate,
    "responses": {201: OpenApiResponse(NodeDocument, "The node as it was added")},
}

GET: dict[str, Any] = {
    "operation_id": "getNode",
    "tags": _TAGS,
    "summary": "Get a node",
    "parameters": [_NODE, etag(200)],
    "responses": {200: OpenApiResponse(NodeDocument, "The node")},
}

PATCH: dict[str, Any] = {
    "operation_id": "updateNode",
    "tags": _TAGS,
    "summary": "Change a node (operators)",
    "description": (
        "A JSON merge patch. `gpus` and `osImages` replace the whole list. `segment` and `pool` can be changed in "
        "maintenance and without VMs only; of other settings a VM is told at its next start. `lost` says that a node "
        "will not come back as it was: its tasks end, its VMs are in error, and nothing is done there any more. Taken "
        "back, it stays in maintenance, and `enabled` is refused until its domains have been looked at."
    ),
    "parameters": [_NODE, IF_MATCH, etag(200)],
    "request": NodePatch,
    "responses": {200: OpenApiResponse(NodeDocument, "The node as it is now")},
}

DELETE: dict[str, Any] = {
    "operation_id": "deleteNode",
    "tags": _TAGS,
    "summary": "Delete a node (operators)",
    "description": "One without VMs.",
    "parameters": [_NODE, IF_MATCH],
    "responses": {200: OpenApiResponse(NodeDoneDocument, "It is gone")},
}

REFRESH: dict[str, Any] = {
    "operation_id": "refreshNode",
    "tags": _TAGS,
    "summary": "Ask a node what it has (operators)",
    "parameters": [_NODE, IDEMPOTENCY_KEY, replayed(202)],
    "request": None,
    "responses": {202: OpenApiResponse(NodeTaskDocument, "A task asks it")},
}
