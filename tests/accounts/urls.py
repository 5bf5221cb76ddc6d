"""A path that writes and one that reads, for what every path has."""

from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import audit
from accounts.idempotency import idempotent
from common.db import atomic
from common.errors import Conflict


@atomic
def write(actor, name):
    audit.record(actor, "thing.create", object_type="thing", object_id=name, org_id=actor.org_id)


class ThingView(ViewSet):
    def read(self, request: Request) -> Response:
        actor: Any = request.user
        return Response({"username": actor.username, "isOperator": actor.is_operator, "role": actor.role})

    @idempotent
    def create(self, request: Request) -> Response:
        actor: Any = request.user
        data: Any = request.data
        name = data.get("name", "")
        write(actor, name)
        if name == "taken":
            raise Conflict("Taken.")
        if name == "broken":
            raise RuntimeError("a bug")
        if name == "refused":
            return Response({"success": False}, status=400)
        document = {
            "name": name,
            "isOperator": actor.is_operator,
            "address": actor.address,
            "request": actor.request_id,
        }
        return Response(document, status=201, headers={"Location": f"/things/{name}", "ETag": '"1"'})


class OtherView(ThingView):
    pass


urlpatterns = [
    path("things", ThingView.as_view({"get": "read", "post": "create"})),
    path("others", OtherView.as_view({"post": "create"})),
]
