"""What every page of the admin that changes something is made of."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts import audit
from accounts.actors import Actor
from accounts.models import Organization, User
from common.addresses import client_address
from common.admin import CheckedAdmin
from common.errors import DomainError, ValidationFailed


def admin_actor(request: HttpRequest) -> Actor:
    """Who uses the admin, as the actions take them."""
    if not isinstance(request.user, User):
        raise TypeError("only for pages that ask for a log-in")
    return Actor.of(
        request.user,
        via="admin",
        address=client_address(request),
        request_id=str(getattr(request, "request_id", "")),
    )


class RecordingAdmin(CheckedAdmin):
    """What a form or an action refuses is shown to the operator, and kept in the audit trail."""

    # The last part of the names that the audit trail has for what the form does: `user.change`.
    audited_change = "change"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as e:
            self._refused(request, object_id, e.code, e.message)
            self.message_user(request, e.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        context = getattr(response, "context_data", None) or {}
        if request.method == "POST" and context.get("errors"):
            fields = ", ".join(sorted(context["adminform"].form.errors)) or "rows below"
            self._refused(request, object_id, ValidationFailed.code, f"Some fields are wrong: {fields}")
        return response

    def _refused(self, request: HttpRequest, object_id: str | None, code: str, detail: str) -> None:
        name = self.opts.model_name
        verb = self.audited_change if object_id else "create"
        row = self.get_object(request, unquote(object_id)) if object_id else None
        org_id = row.pk if isinstance(row, Organization) else getattr(row, "organization_id", None)
        audit.refused(
            admin_actor(request), f"{name}.{verb}", code=code, detail=detail, object_type=name,
            object_id=str(row.pk) if row else "", org_id=org_id,
        )  # fmt: skip


class ActingAdmin(RecordingAdmin):
    """Rows are changed by actions, and never deleted here."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
