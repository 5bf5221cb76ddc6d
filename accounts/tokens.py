"""Access and refresh tokens.

An access token is believed until it expires. A refresh token is good once, for a user who is still active and has
still the password that it was issued for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from accounts.models import UsedRefresh, User
from common.db import atomic
from common.errors import TokenExpired, TokenNotValid
from common.ids import is_object_id

# A used id is kept for a little longer than its token lives: another machine's clock may be behind.
_PURGE_MARGIN = timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    access: str
    refresh: str


@dataclass(frozen=True)
class Claims:
    """What an access token says of its bearer."""

    user_id: str
    org_id: str
    username: str
    role: str
    is_operator: bool


def issue(user: User) -> Pair:
    """A new pair. Whoever calls it has made sure of who the user is."""
    access = AccessToken()
    access["userId"] = user.id
    access["orgId"] = user.organization_id
    access["username"] = user.get_username()
    access["role"] = user.role
    access["isOperator"] = user.is_staff and user.is_active
    token = RefreshToken()
    token["userId"] = user.id
    token["fingerprint"] = _fingerprint(user)
    return Pair(access=str(access), refresh=str(token))


def read_access(token: str) -> Claims:
    """The claims of an access token, without a look at the database. Raises TokenNotValid."""
    claims, expires_at = _verified(token)
    if expires_at <= timezone.now().timestamp():
        raise TokenNotValid("The token has expired.")
    return claims


@lru_cache(maxsize=4096)
def _verified(token: str) -> tuple[Claims, int]:
    """What a token says, and until when. The signature of a text stays what it is: it is computed once a process, for
    good tokens alone. Raises TokenNotValid."""
    claims = _decoded(AccessToken, token)
    try:
        said = Claims(
            user_id=claims["userId"],
            org_id=claims["orgId"],
            username=claims["username"],
            role=claims["role"],
            is_operator=claims["isOperator"] is True,
        )
        return said, claims["exp"]
    except KeyError as e:
        raise TokenNotValid("The token is not valid. Log in again.") from e


def refresh(token: str) -> Pair:
    """A new pair for a refresh token, which is used up by it. Raises TokenNotValid.

    Of two who rotate one token the database lets one through; nothing else is revoked. Not to be called inside a
    transaction: the losing insert would spoil it.
    """
    claims = _decoded(RefreshToken, token)
    user = User.objects.filter(pk=claims.get("userId")).first()
    if (
        user is None
        or not user.is_active
        or not constant_time_compare(str(claims.get("fingerprint")), _fingerprint(user))
    ):
        raise TokenNotValid("The refresh token is no longer valid. Log in again.")
    try:
        _use_up(claims)
    except IntegrityError as e:
        raise TokenNotValid("The refresh token was used already. Log in again.") from e
    return issue(user)


def revoke(token: str) -> None:
    """Make a refresh token worthless. One that is expired or used is so already. Raises TokenNotValid for others."""
    try:
        claims = RefreshToken(token).payload  # type: ignore[arg-type] # the stubs say Token, and it takes text
    except ExpiredTokenError:
        return
    except TokenError as e:
        raise TokenNotValid("This is no refresh token of ours.") from e
    UsedRefresh.objects.bulk_create([_row(claims)], ignore_conflicts=True)


def purge() -> None:
    """Forget used ids whose tokens have expired."""
    UsedRefresh.objects.filter(expires_at__lt=timezone.now() - _PURGE_MARGIN).delete()


def _decoded(kind: type[AccessToken] | type[RefreshToken], token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = kind(token).payload  # type: ignore[arg-type] # the stubs say Token, and it takes text
    except ExpiredTokenError as e:
        raise TokenExpired("The token has expired.") from e
    except TokenError as e:
        raise TokenNotValid("The token is not valid. Log in again.") from e
    if not is_object_id(claims.get("userId")):
        raise TokenNotValid("The token is not valid. Log in again.")
    return claims


@atomic
def _use_up(claims: dict[str, Any]) -> None:
    _row(claims).save(force_insert=True)


def _row(claims: dict[str, Any]) -> UsedRefresh:
    return UsedRefresh(jti=claims["jti"], expires_at=datetime.fromtimestamp(claims["exp"], UTC))


def _fingerprint(user: User) -> str:
    """Changes with the password and with each switching off. It tells nothing about either."""
    return salted_hmac("accounts.tokens", f"{user.token_epoch}:{user.password}", algorithm="sha256").hexdigest()[:32]
