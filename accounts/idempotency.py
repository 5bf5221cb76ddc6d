"""`Idempotency-Key`: the same POST sent twice is done once, and answered twice alike."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import orjson
from django import db
from django.db import IntegrityError
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotencyKey
from common.db import atomic
from common.errors import Conflict, Locked, ValidationFailed
from common.times import isoformat

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
# A request that has not answered for so long has died with its process.
DEAD_AFTER = timedelta(seconds=60)
KEPT_HEADERS = ("Location", "ETag")

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_ATTEMPTS = 3

Method = Callable[..., Response]
Act = Callable[[], Response]


@dataclass(frozen=True)
class _Owned:
    """The row is ours to fill, as long as its `created_at` is still this one."""

    key: str
    since: datetime


def idempotent(method: Method) -> Method:
    """For the POST methods of views, before anything reads the body.

    The action and the keeping of its answer are one transaction, which the method's own actions join: it must bear
    being run again, and do nothing that a rollback cannot undo. An answer that holds a secret must not be kept, so a
    method that gives one is not to be decorated.
    """

    @wraps(method)
    def run(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _once(request, lambda: lambda: method(view, request, *args, **kwargs))

    return run


def idempotent_after_preparing(method: Callable[..., Act]) -> Method:
    """The same for a method that gives a function which acts: what the method does itself is slow, as hashing a
    password is, and changes nothing. No transaction is held open for it."""

    @wraps(method)
    def run(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _once(request, lambda: method(view, request, *args, **kwargs))

    return run


def _once(request: Request, prepare: Callable[[], Act]) -> Response:
    given = request.headers.get(HEADER)
    if given is None:
        return prepare()()
    if not _KEY.fullmatch(given):
        raise ValidationFailed.of(HEADER, "Must be 1 to 255 visible ASCII characters", "pattern")
    claim = _claim(_digest(request, given), _body(request))
    if isinstance(claim, IdempotencyKey):
        return _replay(claim)
    try:
        response = _act(claim, prepare())
    except Exception:
        _release_quietly(claim)
        raise
    if not _is_kept(response):
        _release(claim)
    return response


def purge() -> None:
    """Forget keys that are over a day old."""
    IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()


def _digest(request: Request, given: str) -> str:
    actor: Any = request.user
    # An answer is for the eyes that it was given to: who has another role or organization since asks anew.
    seen_by = (str(actor.pk), actor.org_id, actor.role, str(actor.is_operator))
    parts = (*seen_by, str(request.method), request.path, given)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _body(request: Request) -> str:
    """An HMAC, for a body may hold a password. What else decides what is done counts as part of the body."""
    beside = "\n".join((request.META.get("QUERY_STRING", ""), str(request.headers.get("X-Org-Id"))))
    content = beside.encode() + b"\n" + request._request.body
    return salted_hmac("accounts.idempotency", content, algorithm="sha256").hexdigest()


def _claim(key: str, body: str) -> _Owned | IdempotencyKey:
    """The right to act, or the row with the answer that is there already. Raises Locked and Conflict."""
    for _ in range(_ATTEMPTS):
        # Whole milliseconds: it is compared with what is stored, and not every engine stores more.
        now = timezone.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        try:
            _insert(IdempotencyKey(key=key, body=body, created_at=now))
        except IntegrityError:
            row = IdempotencyKey.objects.filter(key=key).first()
        else:
            return _Owned(key, now)
        if row is None:  # the one before failed in this moment, and is gone
            continue
        age = now - row.created_at
        if age <= KEPT_FOR:
            if row.body != body:
                raise Conflict("This Idempotency-Key came with another body before. Use a new key.")
            if row.status is not None:
                return row
            if age <= DEAD_AFTER:
                break
        if _take_over(row, body, now):
            return _Owned(key, now)
    raise Locked("A request with this Idempotency-Key is still running. Try again in a moment.")


@atomic
def _insert(row: IdempotencyKey) -> None:
    row.save(force_insert=True)


def _take_over(row: IdempotencyKey, body: str, now: datetime) -> bool:
    """Only one of several who find the row old gets it, and none if it was filled in the meantime."""
    same = IdempotencyKey.objects.filter(key=row.key, created_at=row.created_at, status=row.status)
    return same.update(created_at=now, body=body, status=None, headers={}, answer="") == 1


@atomic
def _act(claim: _Owned, act: Act) -> Response:
    response = act()
    if _is_kept(response) and not _own(claim).update(
        status=response.status_code,
        headers={name: response.headers[name] for name in KEPT_HEADERS if name in response.headers},
        answer="" if response.data is None else _json(response.data),
    ):
        # We took so long that another was let in. Raised here, it undoes what the method did.
        raise Locked("Another request with this Idempotency-Key has taken over. Try again in a moment.")
    return response


def _own(claim: _Owned) -> Any:
    return IdempotencyKey.objects.filter(key=claim.key, created_at=claim.since, status=None)


def _release(claim: _Owned) -> None:
    _own(claim).delete()


def _release_quietly(claim: _Owned) -> None:
    """While another error is on its way: it is the one to be told. The row is taken over when it is old."""
    try:
        _release(claim)
    except db.Error:
        log.exception("an Idempotency-Key could not be released")


def _is_kept(response: Response) -> bool:
    return 200 <= response.status_code < 300


def _replay(row: IdempotencyKey) -> Response:
    headers = {**row.headers, "Idempotent-Replayed": "true"}
    # The very bytes of the first answer, not a second reading of them.
    return Response(orjson.Fragment(row.answer) if row.answer else None, status=row.status, headers=headers)


def _json(data: Any) -> str:
    return orjson.dumps(data, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _default(value: Any) -> str:
    if isinstance(value, datetime):
        return isoformat(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
