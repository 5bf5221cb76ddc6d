"""`GET /metrics`, for Prometheus alone."""

from ipaddress import ip_address

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from accounts import audit
from accounts.actors import stranger
from aiwm_site import request_metrics
from aiwm_site.gauges import DatabaseCollector
from common.addresses import client_address, counted_as
from common.errors import NotFound


@csrf_exempt  # it takes no form; another method is told so, not asked for a token
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Open to who sends `METRICS_TOKEN`, and to the networks of `METRICS_ALLOW`. To all others there is no such page;
    where neither is set, to nobody."""
    if not _may(request):
        if settings.METRICS_TOKEN or settings.METRICS_ALLOW:
            _keep_attempt(request)
        raise Http404
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    state = CollectorRegistry()
    state.register(DatabaseCollector())
    body = encode(request_metrics.registry()).replace(b"# EOF\n", b"") + encode(state)
    return HttpResponse(body, content_type=content_type)


def _may(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN
    if wanted and scheme.lower() == "bearer" and constant_time_compare(token.strip(), wanted):
        return True
    address = client_address(request)
    return bool(address) and any(ip_address(address) in network for network in settings.METRICS_ALLOW)


def _keep_attempt(request: HttpRequest) -> None:
    actor = stranger("api", counted_as(client_address(request)), str(getattr(request, "request_id", "")))
    audit.refused(
        actor, "metrics.read", code=NotFound.code, detail="Neither the token nor an allowed network",
        object_type="service",
    )  # fmt: skip
