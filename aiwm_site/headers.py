"""What every answer tells a browser: what its page may load and do, who may frame it, and that nobody stores it."""

from collections.abc import Mapping

from csp.constants import HEADER, NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE, Nonce
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from aiwm_site import errors

Directives = Mapping[str, list[str | Nonce]]

# Of JSON and of whatever has no policy of its own: nothing may be loaded, run, sent or framed.
NOTHING: Directives = {"default-src": [NONE], "base-uri": [NONE], "form-action": [NONE], "frame-ancestors": [NONE]}

# Swagger UI. It asks the API of this host, and draws its icons from `data:`.
DOCS: Directives = {
    **NOTHING,
    "script-src": [SELF, NONCE],
    "style-src": [SELF, NONCE],
    "img-src": [SELF, "data:"],
    "connect-src": [SELF],
}

# Unfold's pages have no inline script, but Alpine evaluates what stands in their attributes, and has no build without
# `eval` that knows all of it. Their colours stand in a <style>, and sizes in attributes.
ADMIN: Directives = {
    **NOTHING,
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
}

FURTHER = {
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class HeadersMiddleware(CSPMiddleware):
    """Adds what an answer does not say itself. It stands around all other middleware, for these answer too.

    The policy of JSON is written once: it is on every answer of the API, and never differs.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        headers = response.headers
        for name, value in FURTHER.items():
            headers.setdefault(name, value)
        if "Cache-Control" not in headers:
            if "ETag" in headers:
                headers["Cache-Control"] = "private, no-cache"
                # Two people at one browser may see the same version of a VM and not the same of it.
                patch_vary_headers(response, ("Authorization",))
            else:
                headers["Cache-Control"] = "no-store"
        if _directives(request) is NOTHING:
            headers.setdefault(HEADER, STRICT)
            return response
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only:
            parts.config = dict(_directives(request))
        return parts


def _directives(request: HttpRequest) -> Directives:
    if errors.is_admin_page(request):
        return ADMIN
    return DOCS if request.path_info == "/docs" else NOTHING


STRICT = build_policy(config=dict(NOTHING))
