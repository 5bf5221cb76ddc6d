"""Who sends a request, by the access token that it carries."""

from dataclasses import replace

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import tokens
from accounts.actors import Actor
from accounts.models import Organization, User
from common.addresses import client_address
from common.errors import NotAuthenticated, NotFound, TokenNotValid
from common.ids import is_object_id


class SwitchedOff(TokenNotValid):
    """The token is good, and its account was switched off since. `actor` is whose it was."""

    def __init__(self, actor: Actor) -> None:
        super().__init__("This account is switched off.")
        self.actor = actor


class AnotherOrganization(NotFound):
    """`X-Org-Id` names one in which the caller may not act, `org_id`, or nothing that is an organization."""

    def __init__(self, org_id: str) -> None:
        super().__init__("There is no such organization.")
        self.org_id = org_id


class AccessTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access>`. `request.user` is an Actor, made from the claims alone.

    An operator may do so much that their writes are not left to a token of up to 15 minutes ago: for these, and
    for what a view calls `read_again`, the user is read again.
    """

    def authenticate(self, request: Request) -> tuple[Actor, str] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        if not token or " " in token:
            raise NotAuthenticated("The Authorization header must be: Bearer <access token>.")
        claims = tokens.read_access(token)
        actor = Actor(
            user_id=claims.user_id,
            username=claims.username,
            org_id=claims.org_id,
            role=claims.role,
            is_operator=claims.is_operator,
            via="api",
            address=client_address(request._request),
            request_id=str(getattr(request, "request_id", "")),
        )
        return (actor if request.method in SAFE_METHODS else read_again(actor)), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def read_again(actor: Actor) -> Actor:
    """An operator as they are now; others as their token says. Raises SwitchedOff."""
    if not actor.is_operator:
        return actor
    row = (
        User.objects.filter(pk=actor.user_id, is_active=True).values_list("is_staff", "role", "organization_id").first()
    )
    if row is None:
        raise SwitchedOff(actor)
    is_staff, role, org_id = row
    return replace(actor, is_operator=is_staff, role=role, org_id=org_id)


def owning_org(actor: Actor, header: str | None) -> str:
    """The organization that owns what the actor creates: their own, or for an operator the one that `X-Org-Id` names.

    Raises AnotherOrganization for one that does not exist, in the same words as for one that is not theirs.
    """
    if header is None or header == actor.org_id:
        return actor.org_id
    known = is_object_id(header) and actor.is_operator and Organization.objects.filter(pk=header).exists()
    if not known:
        raise AnotherOrganization(header)
    return header
