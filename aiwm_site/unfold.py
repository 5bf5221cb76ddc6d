"""How the admin looks: its name, and the sidebar with what operators look for first."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _link(title: str, icon: str, model: str) -> dict[str, Any]:
    """A list in the sidebar, for who may see it. `model` is `app.model`."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": _may_view(model),
    }


def _may_view(model: str) -> Callable[[HttpRequest], bool]:
    app, _, name = model.partition(".")

    def check(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))

    return check


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AIWM",
    "SITE_HEADER": "AIWM",
    "SITE_SUBHEADER": "Virtual machines",
    "SITE_SYMBOL": "dns",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": True,
        "navigation": [
            {
                "title": "Virtual machines",
                "items": [
                    _link("VMs", "computer", "resources.virtualmachine"),
                    _link("Snapshots", "photo_camera", "snapshots.snapshot"),
                    _link("Tasks", "checklist", "tasks.task"),
                ],
            },
            {
                "title": "Infrastructure",
                "separator": True,
                "items": [
                    _link("Nodes", "dns", "nodes.node"),
                    _link("GPUs", "memory", "nodes.gpu"),
                    _link("Networks", "lan", "nodes.network"),
                    _link("Images", "album", "nodes.image"),
                ],
            },
            {
                "title": "Accounts",
                "separator": True,
                "items": [
                    _link("Organizations", "apartment", "accounts.organization"),
                    _link("Users", "group", "accounts.user"),
                    _link("Audit", "history", "accounts.auditentry"),
                ],
            },
        ],
    },
}
