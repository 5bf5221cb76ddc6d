"""Reads of accounts."""

from django.contrib.auth import authenticate
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import logins
from accounts.actors import Actor
from accounts.models import Organization, User
from common.errors import Forbidden, NotAuthenticated, NotFound, TokenNotValid
from common.paging import Page


def user_by_password(request: HttpRequest, username: str, password: str) -> User:
    """Who has this name and password. Raises NotAuthenticated for what is wrong, and Throttled in a lock-out."""
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise NotAuthenticated("Wrong user name or password.")
    logins.done(request, user)
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    return user


def me(actor: Actor) -> User:
    """The actor's own row. Raises TokenNotValid where they are switched off since the token was issued."""
    user = User.objects.select_related("organization").filter(pk=actor.user_id, is_active=True).first()
    if user is None:
        raise TokenNotValid("This account is switched off.")
    return user


def organization(org_id: str) -> Organization:
    org = Organization.objects.filter(pk=org_id).first()
    if org is None:
        raise NotFound
    return org


def members(actor: Actor, org_id: str, page: Page) -> tuple[int, QuerySet[User]]:
    """How many users the organization has, and this page of them by name. Raises Forbidden."""
    if not actor.may_see_users:
        raise Forbidden("Only admins of the organization see its users.")
    users = User.objects.filter(organization_id=org_id).order_by("username", "id")
    return users.count(), users[page.offset : page.end]
