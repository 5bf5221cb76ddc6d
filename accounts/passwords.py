"""The admin's page where staff change their own password, with the change in the audit trail."""

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_post_parameters

from accounts import actions, audit
from accounts.adminbase import admin_actor
from accounts.models import User
from common.errors import ValidationFailed


@sensitive_post_parameters()
def change_own_password(request: HttpRequest) -> HttpResponse:
    """Django's own page. A wrong old password is kept too: it may be somebody at a screen left open."""
    actor = admin_actor(request)
    with transaction.atomic():
        response: HttpResponse = admin.site.password_change(request)
        changed = request.method == "POST" and response.status_code == 302
        if changed:
            actions.record_password(actor, User.objects.get(pk=actor.user_id))
    if request.method == "POST" and not changed:
        audit.refused(
            actor, "user.set_password", code=ValidationFailed.code, detail="Wrong password, or a new one not allowed",
            object_type="user", object_id=str(actor.user_id), org_id=actor.org_id,
        )  # fmt: skip
    return response
