"""Two transactions at once, on an engine that lets them."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

ONE_WRITES = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one transaction write at a time")


def beside(first: Callable[[], object], second: Callable[[], object]) -> bool:
    """Do the second in another connection while the transaction of the first is open. Gives whether it waited."""
    done = []

    def in_another_connection() -> None:
        try:
            second()
            done.append(True)
        finally:
            connection.close()

    thread = threading.Thread(target=in_another_connection)
    with transaction.atomic():
        transaction.get_connection().atomic_blocks[-1]._from_testcase = True  # see common.db
        first()
        thread.start()
        thread.join(1)
        waited = thread.is_alive()
    thread.join(20)
    assert done == [True]
    return waited
