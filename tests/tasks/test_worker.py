"""The worker's loop, heartbeat and periodic jobs."""

import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from django.core import checks
from django.db import OperationalError
from django.db.models.functions import Now

from tasks import queue, worker
from tasks.models import Beat, Task, TaskStatus, Worker
from tasks.registry import Periodic, Step, TaskType, registry
from tasks.worker import WorkerProcess, run_due_jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def process(script, monkeypatch):
    """A worker whose signals and connections are left alone, as it runs inside the test."""
    monkeypatch.setattr(worker.signal, "signal", lambda *args: None)
    monkeypatch.setattr(worker, "close_old_connections", lambda: None)
    return WorkerProcess(poll_s=0.01)


def test_it_works_until_it_is_stopped(process, make, script):
    task = make()
    script.answers["only"] = lambda run: process.stop()
    process.run()
    task.refresh_from_db()
    assert (task.status, task.worker) == (TaskStatus.SUCCEEDED, process.name)
    assert not Worker.objects.exists()


def test_it_has_a_heartbeat_while_it_works(process, make, script):
    make()
    seen = []

    def look(run):
        seen.extend(Worker.objects.alive())
        process.stop()

    script.answers["only"] = look
    process.run()
    assert [(row.id, row.pid) for row in seen] == [(process.id, os.getpid())]


def test_it_comes_back_when_its_heartbeat_was_purged(process):
    process.beat()
    Worker.objects.all().delete()
    process.beat()
    assert not Worker.objects.exists()  # not due yet
    process._next_beat = 0.0
    process.beat()
    assert Worker.objects.get().id == process.id


def test_it_goes_on_when_the_database_fails(process, make, script, monkeypatch, caplog):
    task = make()
    take, waits = queue.take, []
    failures = [OperationalError("the server closed the connection")] * 3

    def flaky(*args, **kwargs):
        if failures:
            raise failures.pop()
        return take(*args, **kwargs)

    monkeypatch.setattr(queue, "take", flaky)
    monkeypatch.setattr(process._waker, "pause", waits.append)
    script.answers["only"] = lambda run: process.stop()
    process.run()
    task.refresh_from_db()
    assert task.status == TaskStatus.SUCCEEDED
    assert waits == [1.0, 2.0, 4.0]
    assert "the database fails" in caplog.text


def test_a_task_that_the_database_interrupted_waits_for_no_lease_and_costs_no_life(process, make, script, pass_time):
    task = make()
    script.answers["only"] = [OperationalError("the server closed the connection"), None]
    with pytest.raises(OperationalError):
        process.turn()
    assert Task.objects.get(pk=task.pk).lease_until is not None
    assert process.turn() is False, "others come first"
    pass_time(task, "not_before")
    assert process.turn() is True
    task.refresh_from_db()
    assert (task.status, task.attempt, task.deaths) == (TaskStatus.SUCCEEDED, 2, 0)


def test_a_task_that_was_interrupted_is_left_alone_when_another_worker_has_it(process, make, script, pass_time):
    task = make()
    script.answers["only"] = [OperationalError("the server closed the connection"), None]
    with pytest.raises(OperationalError):
        process.turn()
    pass_time(task, "lease_until")
    held = queue.take("another")
    process.turn()
    task.refresh_from_db()
    assert (task.worker, task.lease_until, task.deaths) == ("another", held.lease_until, 1)


def test_it_gives_back_what_was_interrupted_when_it_stops(process, make, script):
    task = make()

    def fails(run):
        process.stop()
        raise OperationalError("the server closed the connection")

    script.answers["only"] = fails
    process.run()
    task.refresh_from_db()
    assert (task.status, task.lease_until) == (TaskStatus.RUNNING, None)


@pytest.fixture
def left(process):
    """Set when the watchdog ends the process."""
    left = threading.Event()
    process._watchdog = worker.Watchdog(lambda code: left.set())
    return left


@pytest.mark.parametrize("where", ["queue.take", "worker.close_old_connections", "process._waker.wait"])
def test_a_database_that_never_answers_ends_it(process, monkeypatch, left, where):
    waited = []

    def hang(*_):
        process.stop()
        process._watchdog._set(0.01, asleep_too=False) if process._watchdog._seconds else pytest.fail("not guarded")
        waited.append(left.wait(10))

    owners = {"queue": queue, "worker": worker, "process._waker": process._waker}
    owner, _, name = where.rpartition(".")
    monkeypatch.setattr(owners[owner], name, hang)
    process.run()
    assert waited[:1] == [True]


def test_it_survives_an_error_of_its_own(process, make, script, monkeypatch, caplog):
    def broken(*args, **kwargs):
        process.stop()
        raise RuntimeError("broken machinery")

    monkeypatch.setattr(queue, "take", broken)
    process.run()
    assert "broken machinery" in caplog.text


def test_it_wakes_at_once_from_a_signal(process):
    threading.Timer(0.05, process.stop).start()
    began = time.monotonic()
    process._waker.wait(20)
    assert time.monotonic() - began < 10


def test_it_may_be_woken_any_number_of_times_while_it_works(process):
    for _ in range(100_000):
        process._waker.wake()


def test_it_leaves_when_a_call_outlives_its_time(caplog):
    codes, left = [], threading.Event()

    def leave(code):
        codes.append(code)
        left.set()

    watchdog = worker.Watchdog(leave)
    with watchdog.guard(30):
        pass
    with watchdog.guard(0.3):
        with watchdog.guard(30):
            assert not left.wait(0.5), "an outer one's time does not run meanwhile"
        assert left.wait(10)
    assert codes == [75]
    assert "over its time" in caplog.text


def test_it_leaves_before_the_watchdogs_thread_has_seen_that_it_overslept(caplog):
    codes = []
    watchdog = worker.Watchdog(lambda code: codes.append(code) or time.sleep(0.2))
    watchdog.leave_if_late()
    with watchdog.guard(30):
        watchdog.leave_if_late()
    assert codes == []
    with watchdog.guard(-1):
        watchdog.leave_if_late()
    assert set(codes) == {75}
    assert "slept through" in caplog.text


def test_it_goes_on_where_it_has_slept_while_only_its_database_was_waited_for(monkeypatch):
    """Its clock goes on while a process is stopped."""
    codes, slept, seen = [], [0.0], threading.Event()
    clock = time.monotonic

    def after_sleep():
        if slept[0]:
            seen.set()
        return clock() + slept[0]

    monkeypatch.setattr(worker.time, "monotonic", after_sleep)
    watchdog = worker.Watchdog(codes.append)
    with watchdog.guard(60, asleep_too=False):
        slept[0] = 1000.0
        watchdog.leave_if_late()
        with watchdog._changed:
            watchdog._changed.notify()
        assert seen.wait(10)
        with watchdog._changed:
            assert watchdog._due > after_sleep()
    assert codes == []


def test_it_ends_at_a_second_signal(script, monkeypatch):
    process, handlers = WorkerProcess(), []
    monkeypatch.setattr(worker.signal, "signal", lambda *args: handlers.append(args))
    process._on_signal(signal.SIGTERM, None)
    assert process.stopping()
    assert handlers == [(signal.SIGTERM, signal.SIG_DFL)]


class TestPeriodic:
    @pytest.fixture
    def ran(self, script):
        ran: list[str] = []
        registry.periodic["sweep"] = Periodic("sweep", lambda: 30.0, lambda: ran.append("sweep"))
        return ran

    def rewind(self, **ago):
        Beat.objects.filter(name="sweep").update(next_at=Now() - timedelta(**ago))

    def test_it_runs_a_new_job_at_once_and_only_once(self, ran):
        assert "sweep" in run_due_jobs()
        assert run_due_jobs() == []
        assert ran == ["sweep"]

    def test_it_runs_it_again_when_due(self, ran):
        run_due_jobs()
        self.rewind(seconds=1)
        assert run_due_jobs() == ["sweep"]

    def test_it_does_not_catch_up(self, ran):
        run_due_jobs()
        self.rewind(days=1)
        assert (run_due_jobs(), run_due_jobs()) == (["sweep"], [])

    def test_it_lets_one_of_two_workers_that_saw_it_due(self, ran, monkeypatch):
        run_due_jobs()
        self.rewind(seconds=1)
        take_turn = worker._take_turn

        def another_is_first(name, interval):
            assert take_turn(name, interval)
            return take_turn(name, interval)

        monkeypatch.setattr(worker, "_take_turn", another_is_first)
        assert run_due_jobs() == []
        assert ran == ["sweep"]

    def test_it_reads_the_interval_at_each_turn(self, ran):
        registry.periodic["sweep"] = Periodic("sweep", lambda: 3600.0, lambda: ran.append("hourly"))
        run_due_jobs()
        registry.periodic["sweep"] = Periodic("sweep", lambda: 5.0, lambda: ran.append("often"))
        run_due_jobs()
        assert ran == ["hourly", "often"]

    def test_it_logs_a_job_that_fails_and_goes_on(self, ran, caplog):
        def broken():
            raise RuntimeError("the sweep is broken")

        registry.periodic["broken"] = Periodic("broken", lambda: 30.0, broken)
        assert {"broken", "sweep"} <= set(run_due_jobs())
        assert ran == ["sweep"]
        assert "the sweep is broken" in caplog.text

    def test_it_costs_two_queries_when_nothing_is_due(self, ran, django_assert_num_queries):
        run_due_jobs()
        with django_assert_num_queries(2):
            run_due_jobs()

    def test_it_forgets_workers_long_dead_and_no_tasks(self, ran, make):
        task = make()
        Worker.objects.create(host="old", pid=1, seen_at=Now() - timedelta(hours=2))
        Worker.objects.create(host="late", pid=2, seen_at=Now() - timedelta(minutes=5))
        run_due_jobs()
        assert [row.host for row in Worker.objects.all()] == ["late"]
        assert not Worker.objects.alive().exists()
        assert Task.objects.filter(pk=task.pk).exists()


class TestChecks:
    def found(self):
        return [each.id for each in checks.run_checks() if each.id.startswith("tasks.")]

    def test_it_warns_of_a_step_longer_than_a_lease(self, script, settings):
        assert self.found() == []
        settings.LEASE_SECONDS = 45
        assert set(self.found()) == {"tasks.W001"}

    def test_it_refuses_two_steps_of_one_name(self, script):
        step = Step("a", 10, "a", lambda run: None)
        registry.types = {"twice": TaskType("twice", (step, step), script.settle)}
        assert self.found() == ["tasks.E001"]
