"""How many requests a minute are served.

`API_RATE` is counted in memory that all processes of a server share (`common.counters`): it is there against clients
that run wild, must cost next to nothing, and may let one or two more through. Each machine of several counts for
itself. `TOKEN_RATE` is there against guessing, and log-ins are few and slow on purpose: it is counted in the database,
exactly, over all machines.
"""

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts import audit
from accounts.actors import Actor, Via, stranger
from accounts.models import LoginMinute
from common.addresses import client_address, counted_as
from common.counters import MINUTE_S, count
from common.db import atomic
from common.errors import Throttled

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which reads the settings that name this module

KEPT = timedelta(hours=1)


class UserThrottle(BaseThrottle):
    """`API_RATE` a user; on paths that need no log-in, an address. A request without a good token is refused before it
    is counted, and has cost next to nothing."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        limit = settings.API_RATE
        if not limit:
            return True
        user_id = getattr(request.user, "pk", None)
        number = count(f"api:{user_id or counted_as(client_address(request._request))}")
        if number > limit:
            if number == limit + 1:
                _keep(request._request, request.user, "api")
            raise _throttled(limit)
        return True


class AddressThrottle(BaseThrottle):
    """`TOKEN_RATE` an address: log-ins and refreshes."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        take_login(request._request, "api")
        return True


def take_login(request: HttpRequest, via: Via) -> None:
    """Count a log-in from this address, by the API or the admin. Raises Throttled."""
    limit = settings.TOKEN_RATE
    if not limit:
        return
    address = counted_as(client_address(request))
    # What this server has counted is never more than what all have: a flood is refused without a query.
    here = count(f"login:{address}")
    if here > limit or not _take(f"{int(time.time()) // MINUTE_S}:{address}", limit):
        if count(f"login refused:{address}") == 1:
            _keep(request, None, via)
        raise _throttled(limit)


def purge() -> None:
    """Forget the minutes that are over."""
    LoginMinute.objects.filter(at__lt=timezone.now() - KEPT).delete()


def _take(key: str, limit: int) -> bool:
    """One of the minute's, if there is one left: what decides is one statement."""
    if _add(key, limit):
        return True
    if LoginMinute.objects.filter(pk=key).exists():
        return False
    try:
        _begin(key)
    except IntegrityError:  # another was first
        return _add(key, limit)
    return True


@atomic
def _add(key: str, limit: int) -> bool:
    return LoginMinute.objects.filter(pk=key, number__lt=limit).update(number=F("number") + 1) == 1


@atomic
def _begin(key: str) -> None:
    LoginMinute(key=key, number=1, at=timezone.now()).save(force_insert=True)


def _keep(request: HttpRequest, actor: object, via: Via) -> None:
    """Once a minute the audit trail says that somebody is over the limit."""
    if not isinstance(actor, Actor):
        address = counted_as(client_address(request))
        actor = stranger(via, address, str(getattr(request, "request_id", "")))
    detail = "More requests in this minute than are allowed"
    audit.refused(actor, "request", code=Throttled.code, detail=detail, object_type="service")


def _throttled(limit: int) -> Throttled:
    wait = max(1, MINUTE_S - int(time.time()) % MINUTE_S)
    return Throttled(f"Too many requests: {limit} a minute are allowed.", retry_after_s=wait)
