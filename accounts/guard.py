"""The lock-out: after some failed log-ins, a user name is refused from that address for a while.

It counts (username, address) pairs, never the name alone: or anybody could lock anybody out.
"""

import logging
from datetime import timedelta
from math import ceil

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.models import LoginFailure, User
from common.addresses import counted_as
from common.db import atomic
from common.errors import Throttled

log = logging.getLogger(__name__)


def check(username: str, address: str) -> None:
    """Raises Throttled while the pair is locked out."""
    now = timezone.now()
    row = LoginFailure.objects.filter(key=key_of(username, address), locked_until__gt=now).first()
    if row is not None and row.locked_until is not None:
        seconds = ceil((row.locked_until - now).total_seconds())
        raise Throttled(f"Too many failed log-ins. Try again in {seconds} seconds.", retry_after_s=seconds)


@atomic
def failed(username: str, address: str) -> bool:
    """Count one failure; True if the pair is locked out by it. Failures that lie further back than a lock-out lasts
    are forgotten."""
    now = timezone.now()
    key = key_of(username, address)
    lock = _lock()
    LoginFailure.objects.bulk_create([LoginFailure(key=key, last_at=now)], ignore_conflicts=True)
    row = LoginFailure.objects.filter(key=key)
    row.filter(Q(last_at__lte=now - lock) | Q(locked_until__lte=now)).update(failures=0, last_at=now, locked_until=None)
    row.update(failures=F("failures") + 1, last_at=now)
    locked = row.filter(failures__gte=settings.LOGIN_FAILURES, locked_until=None).update(locked_until=now + lock) == 1
    if locked:
        # Not the name: some type their password there.
        log.warning("log-in locked out", extra={"address": address})
    return locked


def succeeded(username: str, address: str) -> None:
    """Forget the failures. Raises Throttled where the pair was locked out while the password was being looked at:
    of many guesses at once, none counts that ended after the last allowed one."""
    row = LoginFailure.objects.filter(key=key_of(username, address))
    row.filter(Q(locked_until=None) | Q(locked_until__lte=timezone.now())).delete()
    check(username, address)


def purge() -> None:
    """Forget pairs that nobody has tried for longer than a lock-out lasts."""
    LoginFailure.objects.filter(last_at__lt=timezone.now() - _lock()).delete()


def key_of(username: str, address: str) -> str:
    """A digest with our key, so that the table tells no names to who reads it."""
    pair = f"{User.normalize_username(username)}\n{counted_as(address)}"
    return salted_hmac("accounts.guard", pair, algorithm="sha256").hexdigest()


def _lock() -> timedelta:
    return timedelta(seconds=settings.LOGIN_LOCK_SECONDS)
