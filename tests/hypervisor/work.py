"""A worker's turns, taken in the test's own process, and sooner than a worker would: a guest of the tests is up or off
long before the second in which it is looked at again."""

import time

from tasks.models import OPEN, Task
from tasks.worker import drain
from tests.hypervisor.estate import wait_no_more

SECONDS = 60.0


def work(within_s: float = SECONDS) -> None:
    """Until no task is open."""
    give_up = time.monotonic() + within_s
    while Task.objects.filter(status__in=OPEN).exists():
        assert time.monotonic() < give_up, list(Task.objects.filter(status__in=OPEN).values("type", "message", "error"))
        if not drain():
            time.sleep(0.05)
            wait_no_more()
