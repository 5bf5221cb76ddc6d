"""What the admins of all apps share: a read-only admin, and unfold's decorators with types."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant

Method = TypeVar("Method", bound=Callable[..., Any])


class ReadOnlyAdmin(ModelAdmin):
    """To be looked at by who has Django's permission to view; what changes the rows are actions and workers."""

    actions: Sequence[Any] | None = None
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def badge(description: str, colors: Mapping[str, str], ordering: str) -> Callable[[Method], Method]:
    """A column whose value stands in a badge of its colour."""
    made: Callable[[Method], Method] = display(description=description, label=dict(colors), ordering=ordering)
    return made


def button(
    title: str, url_path: str, permission: str, icon: str, variant: ActionVariant = ActionVariant.DEFAULT
) -> Callable[[Method], Method]:
    """A button of an object's page, which is a link: what it leads to must change nothing on a GET. `permission`
    is that of a `has_<permission>_permission` of the admin."""
    made: Callable[[Method], Method] = action(
        description=title, url_path=url_path, permissions=[permission], icon=icon, variant=variant
    )
    return made
