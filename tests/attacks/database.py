"""What stands in the database, and a way to try something and have it never been."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Model, QuerySet

from accounts.models import AuditEntry, Outcome

Dump = dict[str, list[tuple[Any, ...]]]


def dump() -> Dump:
    """Every column of every row of every table, but for what the audit trail keeps of refusals."""
    return {
        model._meta.db_table: list(_rows(model).order_by("pk").values_list())
        for model in apps.get_models(include_auto_created=True)
    }


def _rows(model: type[Model]) -> QuerySet[Any]:
    rows = model._base_manager.all()
    return rows.exclude(outcome=Outcome.REFUSED) if model is AuditEntry else rows


def differences(before: Dump, after: Dump) -> dict[str, Any]:
    """The rows that are not in both, by table."""
    return {
        table: {"gone": [r for r in rows if r not in after[table]], "new": [r for r in after[table] if r not in rows]}
        for table, rows in before.items()
        if rows != after[table]
    }


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside is undone. An action inside is a transaction of its own, as it would be without this."""
    block = transaction.atomic()
    block._from_testcase = True  # see common.db: else the actions would take it for a transaction of ours
    with block:
        yield
        transaction.set_rollback(True)
