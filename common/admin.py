"""What the admins of all apps share: lists that bear any query string, a read-only admin, and unfold's decorators with
types."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django import forms
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError, NotSupportedError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList

# A search is a condition for each word and column, and PostgreSQL thinks for minutes about thousands of them.
LONGEST_SEARCH = 200

Method = TypeVar("Method", bound=Callable[..., Any])


class CheckedChangeList(ChangeList):
    """A list whose faulty parameters lead back to the list without them, as Django does with those that it foresees."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except (OverflowError, ValueError, DataError, NotSupportedError) as e:
            raise IncorrectLookupParameters(e) from e
        except OperationalError as e:
            if not _is_of_the_statement(e):
                raise
            raise IncorrectLookupParameters(e) from e

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        len(self.result_list)  # read now, where what is wrong with it can still be told


def _is_of_the_statement(error: OperationalError) -> bool:
    """Whether the database refused what it was asked, such as a search of a thousand words, and is well itself.

    https://www.postgresql.org/docs/current/errcodes-appendix.html, classes 22 and 54
    """
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return state[:2] in ("22", "54")
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


class KeysField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # no generic when it runs
    """Django asks the database for keys that no column can hold, and falls over its answer."""

    def clean(self, value: Any) -> Any:
        rows = self.queryset
        assert rows is not None
        key = rows.model._meta.pk
        for each in value if isinstance(value, list | tuple) else ():
            try:
                key.run_validators(key.to_python(each))
            except ValidationError as e:
                message = self.error_messages["invalid_choice"]
                raise ValidationError(message, code="invalid_choice", params={"value": str(each)[:40]}) from e
        return super().clean(value)


class CheckedAdmin(ModelAdmin):
    """Its list answers to what it offers itself, and to nothing else that a query string or a form may ask."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The list's own filters. Django's would let staff ask for any column, also for one that they are not shown."""
        return lookup in self._offered(request)

    def _offered(self, request: HttpRequest) -> Iterator[str]:
        for each in self.get_list_filter(request):
            if isinstance(each, type) and issubclass(each, SimpleListFilter):
                yield str(each.parameter_name)
            else:
                field = self.opts.get_field(each)
                path = f"{each}__{field.target_field.name}" if field.is_relation else each
                yield from (path, f"{path}__exact", f"{each}__isnull")
        if self.date_hierarchy:
            yield from (f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Nothing for what is longer than what anybody types. Lists, the menus of forms and the sidebar ask this."""
        if len(search_term) > LONGEST_SEARCH:
            return queryset.none(), False
        found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)
        return found

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CheckedChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """An action that the user's menu does not have is refused, where Django would show the list as if none was."""
        allowed = {"", *self.get_actions(request)}
        if not allowed.issuperset(request.POST.getlist("action")):
            raise PermissionDenied
        answer: HttpResponse = super().changelist_view(request, extra_context)
        return answer

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **{"form_class": KeysField, **kwargs})
        if field is not None and isinstance(field.widget, FilteredSelectMultiple):
            # Django adds how to choose several in a plain list, and the two boxes say themselves how they are used.
            field.help_text = kwargs.get("help_text", db_field.help_text)
        return field

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Nothing: Django's would show what was done by its own forms alone. See `accounts.trail` for what has one."""
        raise Http404


class ReadOnlyAdmin(CheckedAdmin):
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
