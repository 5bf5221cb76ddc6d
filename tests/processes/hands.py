"""Worker processes that are forked off a process of a site: a new one costs no start of Python, of which a test that
kills many would be mostly made.
"""

import os
import traceback

from django.conf import settings
from django.core.management import call_command
from django.db import connections

_ended: dict[int, int] = {}


def hire(lease_s: float | None = None) -> int:
    """A new worker's process id."""
    connections.close_all()  # a connection is not to be shared
    pid = os.fork()
    if not pid:
        _work(lease_s)
    return pid


def _work(lease_s: float | None) -> None:
    code = 1
    try:
        if lease_s is not None:
            settings.LEASE_SECONDS = lease_s
        call_command("worker", skip_checks=True)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent's loop must not go on in the child
        traceback.print_exc()
    finally:
        os._exit(code)


def ended() -> dict[int, int]:
    """Exit codes of those that have, negative for a signal's number."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return _ended
        if not pid:
            return _ended
        _ended[pid] = os.waitstatus_to_exitcode(status)
