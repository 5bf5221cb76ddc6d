"""Log-ins in the audit trail: those that were let in, and those that were not."""

from django.http import HttpRequest

from accounts import audit
from accounts.actors import Actor, Via, stranger
from accounts.models import User
from common.addresses import client_address, counted_as

ADMIN_PREFIX = "/admin/"


def done(request: HttpRequest, user: User) -> None:
    actor = Actor.of(user, _via(request), client_address(request), _request_id(request))
    audit.record(actor, "login", object_type="user", object_id=user.id, org_id=user.organization_id)


def refused(request: HttpRequest | None, username: str, action: str, code: str, detail: str) -> None:
    """Of a user of ours a row names whose log-in it was. A name that is nobody's is not kept, for some type their
    password there: these are counted by address."""
    address = client_address(request) if request is not None else ""
    known = User.objects.filter(username=User.normalize_username(username)).values_list("id", "organization_id").first()
    user_id, org_id = known or ("", None)
    actor = stranger(_via(request), address if known else counted_as(address), _request_id(request))
    audit.refused(actor, action, code=code, detail=detail, object_type="user", object_id=user_id, org_id=org_id)


def _via(request: HttpRequest | None) -> Via:
    if request is None:
        return "command"
    return "admin" if request.path_info.startswith(ADMIN_PREFIX) else "api"


def _request_id(request: HttpRequest | None) -> str:
    return str(getattr(request, "request_id", ""))
