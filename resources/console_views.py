"""The page that shows a VM's screen."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from common.ids import strip_prefix
from resources.console import socket_origin
from vmbackends import get_backend


@csrf_exempt  # it takes no form; another method is told so, not asked for a token
@require_safe
@xframe_options_exempt  # Content-Security-Policy says by whom it may be framed, which X-Frame-Options cannot
def viewer(request: HttpRequest, public_id: str) -> HttpResponse:
    """The same page for every VM: it reads no database, and whether its token is good is decided at the socket.

    The token stands in the fragment, which a browser sends to no server.
    """
    if strip_prefix(public_id, "vm") is None:
        raise Http404
    page = render(
        request,
        "console/viewer.html",
        {"vm": public_id, "simulated": get_backend().capabilities.local_reads},
    )
    page["Content-Security-Policy"] = content_security_policy()
    page["Referrer-Policy"] = "no-referrer"
    page["Cache-Control"] = "no-store"
    return page


def content_security_policy() -> str:
    """Its own script, style and socket, and frames of AIWM and `FRONTEND_ORIGINS` alone."""
    framed_by = "*" if settings.CORS_ALLOW_ALL_ORIGINS else " ".join(["'self'", *settings.CORS_ALLOWED_ORIGINS])
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self' {socket_origin()}",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {framed_by}",
        )
    )
