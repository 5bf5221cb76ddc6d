"""The site's paths, and some that go wrong on purpose."""

from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST
from rest_framework import exceptions as drf
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from aiwm_site.urls import handler400, handler403, handler404, handler500
from aiwm_site.urls import urlpatterns as site_paths
from common import errors
from vmbackends.errors import NodeUnreachable, Refused

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

RAISED: dict[str, Exception] = {
    "validation": errors.ValidationFailed(
        [
            errors.FieldError("config.vcpus", "min", "Minimum 1 vCPU required"),
            errors.FieldError("name", "required", "VM name is required"),
        ]
    ),
    "malformed": errors.Malformed("The body must be a JSON object."),
    "not_authenticated": errors.NotAuthenticated("Wrong user name or password"),
    "token_not_valid": errors.TokenNotValid("The token has expired"),
    "forbidden": errors.Forbidden("Your role is viewer"),
    "not_found": errors.NotFound(),
    "locked": errors.Locked("A task runs on this VM", task_id="675b2c3d4e5f6a7b8c9d0e0f"),
    "action_not_allowed": errors.ActionNotAllowed("Not while it runs", "running", ["stop"]),
    "conflict": errors.Conflict("GPU-0 is taken"),
    "quota_exceeded": errors.QuotaExceeded("Quota exceeded", {"vcpus": {"limit": 4, "used": 3, "requested": 2}}),
    "unsupported": errors.Unsupported("No memory snapshot with a GPU"),
    "node_unavailable": errors.NodeUnavailable("worker-03 does not answer", retry_after_s=45),
    "precondition_failed": errors.PreconditionFailed("It has changed"),
    "throttled": errors.Throttled("Too often", retry_after_s=7),
    "drf_validation": drf.ValidationError({"name": ["Too long"], "config": {"vcpus": ["Too many"]}}),
    "drf_not_authenticated": drf.NotAuthenticated(),
    "drf_authentication_failed": drf.AuthenticationFailed("user 17 is inactive in table accounts_user"),
    "drf_forbidden": drf.PermissionDenied("Only an operator may do this."),
    "drf_throttled": drf.Throttled(wait=2.2),
    "drf_parse": drf.ParseError("No such encoding"),
    "drf_not_acceptable": drf.NotAcceptable(),
    "http404": Http404("No VirtualMachine matches the given query."),
    "permission_denied": PermissionDenied("secret reason"),
    "node_unreachable": NodeUnreachable("qemu+tls://10.0.0.3/system: connection refused"),
    "bug": RuntimeError("SELECT password FROM accounts_user; /srv/aiwm/settings.py"),
    "bare_domain_error": errors.DomainError("an unnamed one"),
    "refused": Refused("domain is invalid: /var/lib/libvirt"),
    "framework_bug": drf.APIException("inner words"),
}


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class Raises(Open):
    def get(self, request: Request, name: str) -> Response:
        raise RAISED[name]


class Echo(Open):
    def get(self, request: Request) -> Response:
        return Response({"raw": orjson.Fragment(b'{"a":1}')})

    def post(self, request: Request) -> Response:
        return Response({"got": request.data})

    def delete(self, request: Request) -> Response:
        return Response(status=204)


class OtherParser(Open):
    parser_classes = [JSONParser]

    def post(self, request: Request) -> Response:
        return Response({"got": request.data})


class CrashesHalfway(Open):
    def post(self, request: Request) -> Response:
        with transaction.atomic():
            Organization.objects.create(name="half")
            raise RuntimeError("in the middle")


def crash(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    raise RuntimeError("SELECT password FROM accounts_user; /srv/aiwm/settings.py")


def refuse(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("secret reason")


def suspect(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation("secret reason")


def plain_error(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("<h1>gone</h1>", status=410, headers={"ETag": '"x"', "Vary": "Accept"})
    response.set_cookie("seen", "1")
    return response


@require_POST
def only_post(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


urlpatterns = [
    path("t/raises/<str:name>", Raises.as_view()),
    path("t/echo", Echo.as_view()),
    path("t/other-parser", OtherParser.as_view()),
    path("t/crashes-halfway", CrashesHalfway.as_view()),
    path("t/crash", crash),
    path("t/refuse", refuse),
    path("t/suspect", suspect),
    path("t/plain-error", plain_error),
    path("t/only-post", only_post),
    path("admin/t/crash", crash),
    path("admin/t/refuse", refuse),
    *site_paths,
]
