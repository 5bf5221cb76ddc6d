"""Who acts. Every action takes an Actor, whether the API, the admin, a command or the system calls it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

from accounts.models import Role, User
from common.errors import Forbidden

Via = Literal["api", "admin", "command", "system"]


@dataclass(frozen=True)
class Actor:
    """Made from a token's claims or from a user row; it never reads the database itself."""

    user_id: str | None
    username: str
    org_id: str
    role: str
    is_operator: bool
    via: Via
    address: str = ""
    request_id: str = ""

    # What DRF asks of `request.user`.
    is_authenticated = True
    is_active = True

    @property
    def pk(self) -> str | None:
        return self.user_id

    @property
    def may_write(self) -> bool:
        return self.is_operator or self.role in (Role.MEMBER, Role.ADMIN)

    @property
    def may_see_users(self) -> bool:
        return self.is_operator or self.role == Role.ADMIN

    def sees(self, org_id: str | None) -> bool:
        return self.is_operator or (org_id is not None and org_id == self.org_id)

    def require_write(self) -> None:
        if not self.may_write:
            raise Forbidden("Your role is viewer: it may read and not change. Ask an admin of your organization.")

    def require_operator(self) -> None:
        if not self.is_operator:
            raise Forbidden("Only an operator may do this.")

    @classmethod
    def of(cls, user: User, via: Via, address: str = "", request_id: str = "") -> "Actor":
        return cls(
            user_id=user.id,
            username=user.get_username(),
            org_id=user.organization_id,
            role=user.role,
            is_operator=user.is_staff and user.is_active,
            via=via,
            address=address,
            request_id=request_id,
        )


# What the platform does by itself: reconciliation, clean-up, coming on again after a node's reboot.
SYSTEM = Actor(user_id=None, username="system", org_id="", role=Role.VIEWER, is_operator=True, via="system")
# Who runs a command that asks for nobody's name.
SYSTEM_COMMAND = replace(SYSTEM, via="command")


def stranger(via: Via, address: str = "", request_id: str = "") -> Actor:
    """Somebody who has not said who they are, or not truly. They act nowhere: only the audit trail names them."""
    return Actor(
        user_id=None, username="anonymous", org_id="", role=Role.VIEWER, is_operator=False, via=via, address=address,
        request_id=request_id,
    )  # fmt: skip


_current: ContextVar[Actor | None] = ContextVar("actor", default=None)


@contextmanager
def acting_as(username: str) -> Iterator[Actor]:
    """Act as this user for a while, in a shell or a command:

    >>> with acting_as("admin"):
    ...     vm.start()
    """
    actor = actor_named(username)
    token = _current.set(actor)
    try:
        yield actor
    finally:
        _current.reset(token)


def actor_named(username: str) -> Actor:
    """The active user of this name, as a command acts for them. Raises Forbidden."""
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Forbidden(f"There is no active user {username!r} to act as.")
    return Actor.of(user, via="command")


def current_actor() -> Actor:
    """Who acts here: the `acting_as` around, else the user that `AIWM_USER` names. Raises Forbidden."""
    actor = _current.get()
    if actor is not None:
        return actor
    username = os.environ.get("AIWM_USER", "")
    if not username:
        raise Forbidden('Say who acts: `with acting_as("<username>"):`, or set AIWM_USER in the environment.')
    return actor_named(username)
