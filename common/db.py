"""One way to run a transaction, on every engine."""

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction
from django.db.models import BigIntegerField, QuerySet, Value

from common.errors import Conflict

log = logging.getLogger(__name__)

ATTEMPTS = 5
# SQLite says it in words; PostgreSQL by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY_WORDS = ("database is locked", "database table is locked")
_BUSY_STATES = ("40001", "40P01", "55P03")

_WHOLE = BigIntegerField()

P = ParamSpec("P")
R = TypeVar("R")
Row = TypeVar("Row")


class Again(Exception):
    """Raised in a transaction where a row is no longer as it was read: undo all of it and run it anew."""


def atomic(function: Callable[P, R]) -> Callable[P, R]:
    """Run the whole function in one transaction; again from its start if the database was busy or deadlocked, or
    if it raised Again.

    Inside another such function it joins that one's transaction: there are no savepoints, so that a block is
    either wholly done or not at all. The function must therefore bear being run more than once.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _inside_our_transaction():
            return function(*args, **kwargs)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with transaction.atomic():
                    return function(*args, **kwargs)
            except Again as e:
                if attempt == ATTEMPTS:
                    raise Conflict("Others change it at the same time. Read it again and retry.") from e
            except OperationalError as e:
                if attempt == ATTEMPTS or not is_busy(e):
                    raise
                log.info("transaction repeated", extra={"attempt": attempt, "reason": str(e)})
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    return run


def one_or_none(rows: QuerySet[Any, Row]) -> Row | None:
    """The row of a query by a unique key, or None: as `first()`, without the sorting and slicing that cost as much as
    the rest of it."""
    return next(iter(rows.order_by() if rows.ordered else rows), None)


def whole(number: int) -> Value:
    """A whole number in an expression. Told its type, Django does not make a field anew wherever it asks for it."""
    return Value(number, output_field=_WHOLE)


def see_one_moment() -> None:
    """In a transaction, before all else: every read sees the database as it is now, whatever others commit.

    A row that such a transaction changes and another has changed since makes it fail as busy, and `atomic` run it
    anew. SQLite's transactions are so by themselves; PostgreSQL's see each statement's own moment.
    https://www.postgresql.org/docs/current/transaction-iso.html
    """
    if connection.vendor == "postgresql" and len(connection.atomic_blocks) == 1:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def is_busy(error: OperationalError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _BUSY_STATES or any(words in str(error) for words in _BUSY_WORDS)


def _inside_our_transaction() -> bool:
    # The block that a Django TestCase opens around a test is not ours: in it we want a savepoint, so that a
    # failed action is undone in a test as it would be in production. Django's own `durable` does the same.
    blocks = connection.atomic_blocks
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)
