"""The settings of drf-spectacular. They are read while settings load, so nothing is imported here."""

from typing import Any

DESCRIPTION = """\
Manages virtual machines on KVM/libvirt: their life cycle, monitoring, console and snapshots.

Log in at `POST /auth/token` and send `Authorization: Bearer <access>` with every other request. Every error is an RFC
9457 problem document, and every answer has an `X-Request-Id`.
"""


def spectacular_settings(public_url: str) -> dict[str, Any]:
    """`public_url` is where clients reach this service."""
    return {
        "TITLE": "AIWM API",
        "DESCRIPTION": DESCRIPTION,
        "VERSION": "1.0.0",
        "COMPONENT_SPLIT_PATCH": False,
        "OAS_VERSION": "3.1.0",
        "SERVERS": [{"url": public_url}],
        "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "SERVE_PUBLIC": True,
        "SERVE_INCLUDE_SCHEMA": False,
        "SERVE_AUTHENTICATION": [],  # an expired token must not close the documentation
        "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
        "SCHEMA_PATH_PREFIX": "",
        "CAMELIZE_NAMES": True,
        "SORT_OPERATION_PARAMETERS": False,
        "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
        "POSTPROCESSING_HOOKS": ["aiwm_site.schema.describe_errors", "aiwm_site.links.describe_links"],
        # Everything that the page at /docs loads is served from here.
        "SWAGGER_UI_DIST": "SIDECAR",
        "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
        "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None, "displayRequestDuration": True},
    }
