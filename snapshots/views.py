"""The API of snapshots, below their VM."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.idempotency import idempotent
from common.etags import required_versions
from common.times import isoformat
from common.validation import EmptyBody, parse
from resources.queries import find_vm
from resources.views import accepted, actor_of, writer_of
from snapshots import actions, documentation
from snapshots.models import Snapshot
from snapshots.requests import MESSAGES, SnapshotBody


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    document: dict[str, Any] = {
        "snapshotId": snapshot.public_id,
        "name": snapshot.name,
        "description": snapshot.description,
        "createdAt": isoformat(snapshot.created_at),
        "size": snapshot.size,
        "status": snapshot.status,
    }
    if snapshot.error:
        document["errorMessage"] = snapshot.error
    if snapshot.task_id is not None:
        document["taskId"] = f"task-{snapshot.task_id}"
    return document


class SnapshotView(ViewSet):
    @extend_schema(**documentation.LIST)
    def list(self, request: Request, resource_id: str) -> Response:
        vm = find_vm(actor_of(request), resource_id)
        return Response({"resourceId": vm.id, "snapshots": [snapshot_document(row) for row in vm.snapshots.all()]})

    @extend_schema(**documentation.CREATE)
    @idempotent
    def create(self, request: Request, resource_id: str) -> Response:
        actor = writer_of(request, resource_id)
        body = parse(SnapshotBody, request.data, MESSAGES)
        versions = required_versions(request.headers.get("If-Match"))
        snapshot = actions.take(actor, resource_id, body, versions)
        return Response(snapshot_document(snapshot), status=201)

    @extend_schema(**documentation.RESTORE)
    @idempotent
    def restore(self, request: Request, resource_id: str, snapshot_id: str) -> Response:
        actor = writer_of(request, resource_id)
        parse(EmptyBody, request.data or {})
        versions = required_versions(request.headers.get("If-Match"))
        begun = actions.restore(actor, resource_id, snapshot_id, versions)
        answer = accepted("Snapshot restore initiated", begun.task)
        answer.data["estimatedTime"] = begun.estimated_s
        return answer

    @extend_schema(**documentation.DELETE)
    def destroy(self, request: Request, resource_id: str, snapshot_id: str) -> Response:
        actor = writer_of(request, resource_id)
        parse(EmptyBody, request.data or {})
        versions = required_versions(request.headers.get("If-Match"))
        task = actions.remove(actor, resource_id, snapshot_id, versions)
        return accepted("Snapshot deleted successfully", task)
