"""The audit trail as the history of each thing in the admin: pages lead to the entries about what they show."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from common import pages
from common.admin import CheckedAdmin
from common.ids import is_object_id

_ENTRIES = "accounts.auditentry"


class AboutFilter(admin.SimpleListFilter):
    """Entries about one thing and its parts. It shows where it is asked for, as the history of a page does."""

    title = "object"
    parameter_name = "about"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        if self.value() is None:
            return []
        kind, key = self._asked
        return [(str(self.value()), f"{kind} {pages.name_of(request, kind, key) or key}")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        kind, key = self._asked
        of_it = Q(object_type=kind, object_id=key)
        return queryset.filter(of_it | Q(root_id=key) if is_object_id(key) else of_it)

    @property
    def _asked(self) -> tuple[str, str]:
        kind, _, key = str(self.value()).partition(".")
        return kind, key


class WithHistory(CheckedAdmin):
    """For the admin of a kind that the audit trail knows: its button History leads there, for who may view that."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "show_history": pages.may_view(request, _ENTRIES)}
        answer: HttpResponse = super().changeform_view(request, object_id, form_url, context)
        return answer

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        kind, row = pages.kind_of(self.model), self.get_object(request, unquote(object_id))
        if row is None or kind is None:
            raise Http404
        if not self.has_view_or_change_permission(request, row) or not pages.may_view(request, _ENTRIES):
            raise PermissionDenied
        entries = reverse("admin:accounts_auditentry_changelist")
        return HttpResponseRedirect(f"{entries}?{urlencode({AboutFilter.parameter_name: f'{kind}.{row.pk}'})}")
