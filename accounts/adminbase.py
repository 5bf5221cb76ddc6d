"""What every page of the admin that changes something is made of."""

from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from accounts.actors import Actor
from accounts.models import User
from common.addresses import client_address
from common.errors import DomainError


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


class ActingAdmin(ModelAdmin):
    """Rows are changed by actions, and never deleted here. What an action refuses is shown to the operator."""

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
            self.message_user(request, e.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
