"""How an idle worker hears of a new task before its next look: by PostgreSQL's NOTIFY. Other engines have the poll.

https://www.postgresql.org/docs/current/sql-notify.html
"""

import os
import select
from contextlib import suppress
from typing import Any

from django.db import connection

CHANNEL = "aiwm_tasks"


def announce() -> None:
    """Wake the workers when the transaction around is committed."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


class Waker:
    """What an idle worker waits on: a byte in a pipe, which a signal's handler writes, or a notification."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._listens: Any = None
        self._notified = False

    def wake(self) -> None:
        with suppress(BlockingIOError):  # a pipe that is full wakes, too
            os.write(self._write, b"x")

    def pause(self, seconds: float) -> None:
        """Wait for a signal alone: the database may be what fails."""
        self._select([self._read], seconds)

    def wait(self, seconds: float) -> None:
        """Return when woken, at the latest after so many seconds."""
        with connection.wrap_database_errors:
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        listening = self._listen()
        if self._notified:  # while the worker looked for tasks: perhaps just after it had looked
            self._notified = False
            return
        ready = self._select([self._read] if listening is None else [self._read, listening], seconds)
        if listening is not None and listening in ready:
            # An answer brings them in: or the next wait would end at once. A broken connection is readable too, and
            # says so here.
            self._listens.execute("SELECT 1")
            self._notified = False

    def _select(self, sources: list[int], seconds: float) -> list[int]:
        ready: list[int] = select.select(sources, [], [], seconds)[0]
        if self._read in ready:
            os.read(self._read, 4096)
        return ready

    def _listen(self) -> int | None:
        """The socket on which notifications come in. Django opens a new connection now and then: that listens anew."""
        if connection.vendor != "postgresql":
            return None
        connection.ensure_connection()
        driver: Any = connection.connection
        if driver is not self._listens:
            driver.add_notify_handler(self._on_notification)
            driver.execute(f"LISTEN {CHANNEL}")
            self._listens = driver
            self._notified = True  # what was said before nobody heard
        return int(driver.fileno())

    def _on_notification(self, notification: object) -> None:
        self._notified = True
