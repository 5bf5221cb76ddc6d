"""The worker: a process that takes tasks and does periodic jobs until it is told to stop.

Nothing of it is kept in memory: it may be killed at any moment, and another goes on when the leases are over.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections
from django.db.models import Q
from django.db.models.functions import Now

from common.db import atomic
from common.ids import new_object_id
from tasks import pulse, queue
from tasks.engine import Host, give_back, run_task
from tasks.models import Beat, Task, Worker
from tasks.registry import Periodic, registry
from tasks.wake import Waker

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
# EX_TEMPFAIL of sysexits.h: start me again.
EXIT_HUNG = 75
# A periodic job visits many nodes; one that takes longer hangs.
PERIODIC_LIMIT_SECONDS = 600.0
# What is between steps and jobs is the database's, which may not answer at all. Longer than a writer of SQLite waits.
MACHINERY_LIMIT_SECONDS = 180.0
FORGET_WORKERS_AFTER = timedelta(hours=1)


# A watchdog that comes later than so was stopped with its process.
_PUNCTUAL_S = 5.0


class Watchdog:
    """Ends the process when what it guards takes too long: a call that hangs in C can be ended in no other way."""

    def __init__(self, leave: Callable[[int], None] = os._exit) -> None:
        self._leave = leave
        self._changed = threading.Condition()
        self._seconds: float | None = None
        self._asleep_too = True
        self._due: float | None = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def guard(self, seconds: float, *, asleep_too: bool = True) -> Iterator[None]:
        """Within another, that one's time does not run, and begins anew afterwards. So it does when the process was
        stopped meanwhile, where the time is not to run while it is `asleep_too`."""
        outer = self._seconds, self._asleep_too
        self._set(seconds, asleep_too)
        try:
            yield
        finally:
            self._set(*outer)

    def leave_if_late(self) -> None:
        """At once, where the thread of the watchdog would come a moment later than the guarded one goes on."""
        due = self._due
        if due is not None and self._asleep_too and time.monotonic() >= due:
            log.critical("the worker has slept through the time that it had, and leaves")
            self._leave(EXIT_HUNG)

    def _set(self, seconds: float | None, asleep_too: bool) -> None:
        with self._changed:
            self._seconds, self._asleep_too = seconds, asleep_too
            self._due = None if seconds is None else time.monotonic() + seconds
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left < -_PUNCTUAL_S and self._seconds is not None and not self._asleep_too:
                    self._due = time.monotonic() + self._seconds  # this thread was asleep as well
                    continue
                if left is not None and left <= 0:
                    log.critical("the worker hangs in a call that is over its time, and leaves")
                    self._leave(EXIT_HUNG)
                    return
                self._changed.wait(left)


class WorkerProcess(Host):
    """One worker with its heartbeat row."""

    def __init__(self, poll_s: float | None = None) -> None:
        self.id = new_object_id()
        self.host = socket.gethostname()[:60]
        self.name = f"{self.host}:{os.getpid()}:{self.id[-6:]}"
        self._poll_s = settings.POLL_SECONDS if poll_s is None else poll_s
        self._next_beat = 0.0
        self._stopping = False
        self._waker = Waker()
        self._watchdog = Watchdog()
        self._interrupted: Task | None = None  # the one whose run the database's failure has ended

    # What the engine asks of its host

    @contextmanager
    def guard(self, seconds: float) -> Iterator[None]:
        with self._watchdog.guard(seconds):
            yield

    @contextmanager
    def _guard_between(self, more_s: float = 0.0) -> Iterator[None]:
        """What another worker may have done meanwhile is found out in the database, so that it may sleep."""
        with self._watchdog.guard(MACHINERY_LIMIT_SECONDS + more_s, asleep_too=False):
            yield

    def beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        if not Worker.objects.filter(pk=self.id).update(seen_at=Now()):
            Worker.objects.create(id=self.id, host=self.host, pid=os.getpid(), seen_at=Now())
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS

    def stopping(self) -> bool:
        return self._stopping

    # The loop

    def stop(self) -> None:
        self._stopping = True
        self._waker.wake()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; the step that runs is finished. A second signal ends the process at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        # Its task may be another's since it was stopped, and what it was about to do on a node must not come now.
        signal.signal(signal.SIGCONT, lambda *_: self._watchdog.leave_if_late())
        pulse.be(self.beat, self._waker.wake)
        log.info("worker started", extra={"worker": self.name})
        failures = 0
        while not self._stopping:
            try:
                busy = self.turn()
                failures = 0
                if not busy:
                    with self._guard_between(self._poll_s):  # it may ask the database, too
                        self._waker.wait(self._poll_s)
            except (DatabaseError, InterfaceError):
                failures += 1
                log.exception("the database fails; trying again", extra={"failures": failures})
                self._waker.pause(min(30.0, 0.5 * 2 ** min(failures, 6)))
            except Exception:
                # Of the machinery, not of a step: the task's lease runs out, and it is tried again.
                log.exception("a turn of the worker failed")
                self._waker.pause(self._poll_s)
            with self._guard_between():  # which asks the database after a failure
                close_old_connections()
        self._leave()

    def turn(self) -> bool:
        """Do what is due, one task at most. Gives whether there was one."""
        with self._guard_between():
            return self._turn()

    def _turn(self) -> bool:
        self.beat()
        self._give_back_interrupted()
        run_due_jobs(self)
        for name, job in registry.each_turn.items():
            _run_job(Periodic(name, lambda: 0.0, job), self)
        if self._stopping:
            return False
        task = queue.take(self.name)
        if task is None:
            return False
        try:
            run_task(task, self)
        except (OperationalError, InterfaceError):
            self._interrupted = task
            raise
        return True

    def _give_back_interrupted(self) -> None:
        if self._interrupted is not None:
            give_back(self._interrupted)
            self._interrupted = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.stop()

    def _leave(self) -> None:
        try:
            with self._guard_between():
                self._give_back_interrupted()
                Worker.objects.filter(pk=self.id).delete()
        except (DatabaseError, InterfaceError):
            log.exception("the worker's heartbeat row could not be removed; it will be purged")
        log.info("worker stopped", extra={"worker": self.name})


# Periodic jobs


def run_due_jobs(host: Host | None = None) -> list[str]:
    """Do the periodic jobs that are due and that no other worker has taken; gives their names."""
    host = host or Host()
    jobs = {**_OWN_JOBS, **registry.periodic}
    every = {name: timedelta(seconds=job.every_s()) for name, job in jobs.items()}
    known = set(Beat.objects.values_list("name", flat=True))
    missing = [Beat(name=name, next_at=Now()) for name in jobs if name not in known]
    if missing:
        Beat.objects.bulk_create(missing, ignore_conflicts=True)
    # What is due further off than its interval has had that shortened.
    due = Q()
    for name, interval in every.items():
        due |= Q(name=name) & (Q(next_at__lte=Now()) | Q(next_at__gt=Now() + interval + timedelta(seconds=10)))
    done = []
    for name in Beat.objects.filter(due).order_by("next_at").values_list("name", flat=True):
        if host.stopping():
            break
        if _take_turn(name, every[name]):
            _run_job(jobs[name], host)
            done.append(name)
    return done


@atomic
def _take_turn(name: str, interval: timedelta) -> bool:
    due = Q(next_at__lte=Now()) | Q(next_at__gt=Now() + interval + timedelta(seconds=10))
    return Beat.objects.filter(due, name=name).update(next_at=Now() + interval) == 1


def _run_job(job: Periodic, host: Host) -> None:
    try:
        with host.guard(PERIODIC_LIMIT_SECONDS):
            job.run()
    except Exception:
        log.exception("a periodic job failed", extra={"job": job.name})
    host.beat()


def forget_dead_workers() -> None:
    """Remove the heartbeat rows of workers that did not stop in order."""
    Worker.objects.filter(seen_at__lt=Now() - FORGET_WORKERS_AFTER).delete()


_OWN_JOBS = {"forget-dead-workers": Periodic("forget-dead-workers", lambda: 600.0, forget_dead_workers)}


# For tests and the shell


def drain(limit: int = 1000, ignore_waits: bool = False) -> int:
    """Run in this process all tasks that are due now; gives how many turns that took.

    With `ignore_waits` a task that waits for a moment is taken at once. A task whose step asks to wait again and
    again is then taken so often, until `limit`.
    """
    name = f"drain:{os.getpid()}"
    for turns in range(limit):
        task = queue.take(name, ignore_waits=ignore_waits)
        if task is None:
            return turns
        run_task(task)
    return limit
