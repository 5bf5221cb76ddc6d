"""How many requests a minute are served. Each counts in the cache, by minute."""

import time
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from common.addresses import client_address, counted_as
from common.counters import count
from common.errors import Throttled

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which reads the settings that name this module

WINDOW_S = 60


class _MinuteThrottle(BaseThrottle):
    """One counter a client and minute: it costs the same at the first request and the six-thousandth."""

    scope: ClassVar[str]

    def limit(self) -> int:
        """Requests a minute; 0 is no limit."""
        raise NotImplementedError

    def client(self, request: Request) -> str:
        return counted_as(client_address(request._request))

    def allow_request(self, request: Request, view: "APIView") -> bool:
        limit = self.limit()
        if not limit:
            return True
        now = time.time()
        window = int(now // WINDOW_S)
        # Two windows long, so that no counter goes in the middle of its own.
        if count(f"throttle:{self.scope}:{self.client(request)}:{window}", 2 * WINDOW_S) > limit:
            wait = max(1, int((window + 1) * WINDOW_S - now))
            raise Throttled(f"Too many requests: {limit} a minute are allowed.", retry_after_s=wait)
        return True


class UserThrottle(_MinuteThrottle):
    """`API_RATE` a user; where nobody is logged in, an address."""

    scope = "user"

    def limit(self) -> int:
        return int(settings.API_RATE)

    def client(self, request: Request) -> str:
        return getattr(request.user, "pk", None) or super().client(request)


class AddressThrottle(_MinuteThrottle):
    """`TOKEN_RATE` an address: log-ins and refreshes."""

    scope = "token"

    def limit(self) -> int:
        return int(settings.TOKEN_RATE)
