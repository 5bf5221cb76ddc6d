"""The service's own paths: is it alive, is it ready, what does it offer."""

import logging
from typing import Any

from django import db
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response

from aiwm_site.errors import problem
from aiwm_site.schema import CachedGenerator
from tasks.models import Worker

log = logging.getLogger(__name__)


@never_cache
@csrf_exempt
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """This process answers. It asks nothing else, so that a dead database never has it restarted."""
    return JsonResponse({"status": "ok"})


@never_cache
@csrf_exempt
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """The database answers, and a worker has been heard of lately. Each has one word: `ok` or what it lacks."""
    checks = {"database": "ok", "workers": "ok"}
    try:
        if not Worker.objects.alive().exists():
            checks["workers"] = "none alive"
    except db.Error:
        log.warning("the database does not answer", exc_info=True)
        checks = {"database": "unreachable", "workers": "unknown"}
    if set(checks.values()) == {"ok"}:
        return JsonResponse({"status": "ready", "checks": checks})
    lacking = ", ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
    return problem("not_ready", f"Not ready: {lacking}.", extra={"checks": checks}, retry_after_s=5)


class SchemaView(SpectacularAPIView):
    """The OpenAPI document, as JSON unless YAML is asked for."""

    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]
    generator_class = CachedGenerator
    throttle_classes = []


class DocsView(SpectacularSwaggerView):
    """Swagger UI, from files that are served here."""

    url_name = "schema"
    template_name = "docs.html"
    throttle_classes = []

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        # It would leave the page open to windows that opened it, for a log-in by OAuth that there is none of here.
        del answer.headers["Cross-Origin-Opener-Policy"]
        return answer
