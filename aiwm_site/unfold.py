"""How the admin looks: its name, the sidebar with what operators look for first, and its first page in that order."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.text import slugify

from common.pages import may_view

# The lists by what they are for, with the icon of those that stand in the sidebar too.
_GROUPS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "Virtual machines": (
        ("VMs", "computer", "resources.virtualmachine"),
        ("Snapshots", "photo_camera", "snapshots.snapshot"),
        ("Tasks", "checklist", "tasks.task"),
        ("Log entries", "", "resources.logentry"),
    ),
    "Infrastructure": (
        ("Nodes", "dns", "nodes.node"),
        ("GPUs", "memory", "nodes.gpu"),
        ("Networks", "lan", "nodes.network"),
        ("Images", "album", "nodes.image"),
        ("Workers", "", "tasks.worker"),
    ),
    "Accounts": (
        ("Organizations", "apartment", "accounts.organization"),
        ("Users", "group", "accounts.user"),
        ("Audit", "history", "accounts.auditentry"),
        ("Groups", "", "auth.group"),
        ("Failed log-ins", "", "accounts.loginfailure"),
    ),
}
# All others: what the platform keeps for itself.
_OTHERS = "Machinery"


def first_page(_request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The lists that the user may view, in our groups instead of Django's, which are by app and alphabet."""
    lists = {model["model"]._meta.label_lower: model for app in context["app_list"] for model in app["models"]}
    groups = [
        _group(title, [{**lists.pop(label), "name": name} for name, _, label in rows if label in lists])
        for title, rows in _GROUPS.items()
    ]
    groups.append(_group(_OTHERS, list(lists.values())))
    return {**context, "app_list": [group for group in groups if group["models"]]}


def _group(title: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": title, "app_label": slugify(title), "app_url": reverse_lazy("admin:index"), "models": models}


def _sidebar() -> list[dict[str, Any]]:
    return [
        {"title": title, "separator": place > 0, "items": [_link(*row) for row in rows if row[1]]}
        for place, (title, rows) in enumerate(_GROUPS.items())
    ]


def _link(title: str, icon: str, model: str) -> dict[str, Any]:
    """A list in the sidebar, for who may see it."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": lambda request: may_view(request, model),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AIWM",
    "SITE_HEADER": "AIWM",
    "SITE_SUBHEADER": "Virtual machines",
    "SITE_SYMBOL": "dns",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    # Django's keeps what was done by its own forms alone. `accounts.trail` shows the button where there is a history.
    "SHOW_HISTORY": False,
    "STYLES": [lambda _request: static("aiwm/admin.css")],
    "DASHBOARD_CALLBACK": "aiwm_site.unfold.first_page",
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": True,
        "navigation": _sidebar(),
    },
}
