"""How a task is run: steps, waits, refusals, undo, and what is left when a worker dies."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone

from common.errors import Conflict
from common.ids import new_object_id
from tasks import engine, queue
from tasks.engine import BACKOFF_SECONDS, LONGEST_TURN, MAX_DEATHS, MAX_INTERRUPTIONS, Host, give_back, run_task
from tasks.models import Task, TaskStatus
from tasks.registry import Wait, registry
from tasks.worker import drain
from vmbackends.errors import Busy, NodeUnreachable, Refused

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may run after it."""


FAILS = OperationalError("the server closed the connection")


def away():
    return NodeUnreachable("Node worker-03 does not answer. See that it is on.")


def turn(task=None):
    """One claim by a worker, whatever the task waits for; gives the row afterwards."""
    claimed = queue.take("w1", ignore_waits=True)
    run_task(claimed)
    claimed.refresh_from_db()
    return claimed


def test_it_does_the_steps_in_order_and_settles(make, script):
    task = make("three", node_id=new_object_id())
    assert drain() == 1
    task.refresh_from_db()
    assert script.calls == ["a", "b", "c"]
    assert script.settled == [(task.id, "succeeded")]
    assert (task.status, task.progress, task.message, task.error) == ("succeeded", 100, "Done", "")
    assert task.outcome == {"reason": "succeeded", "undone": None}
    assert (task.lease_until, task.node_slot) == (None, None)
    assert task.finished_at is not None


def test_the_time_of_a_step_whose_turn_has_not_come_does_not_run(make, script, pass_time):
    make("three", node_id=new_object_id())
    script.answers["b"] = Busy("Node worker-03 is busy with others.")
    task = turn()
    assert (task.status, task.message) == ("running", "Waiting for its turn: Node worker-03 is busy with others")
    assert (task.lease_until, task.node_slot, task.deadline_at) == (None, None, None)
    assert turn().deadline_at is None

    script.answers.pop("b")
    assert turn().status == "succeeded"
    assert script.calls == ["a", "b", "b", "b", "c"], "nothing was undone"


def test_but_a_turn_that_never_comes_is_not_waited_for_for_ever(make, script, pass_time):
    make("three", node_id=new_object_id())
    script.answers["b"] = Busy("Node worker-03 is busy with others.")
    turn()
    with time_machine.travel(timezone.now() + LONGEST_TURN, tick=False):
        task = turn()
    assert task.deadline_at is not None
    pass_time(task, "deadline_at")
    assert turn().outcome["reason"] == "deadline"


def test_it_shows_progress_and_message_before_each_step(make, script):
    task, seen = make("three"), []
    for name in "abc":
        script.answers[name] = lambda run: seen.append(
            Task.objects.values_list("message", "progress").get(pk=run.task.pk)
        )
    drain()
    assert seen == [("Doing a", 0), ("Doing b", 30), ("Doing c", 60)]
    assert task.id


def test_it_gives_the_worker_back_while_a_step_waits(make, script, pass_time):
    task = make("three", node_id=new_object_id())
    script.answers["b"] = [Wait(30, "The guest is booting"), None]
    drain()
    task.refresh_from_db()
    assert (task.status, task.message, task.progress) == ("running", "The guest is booting", 30)
    assert (task.lease_until, task.node_slot) == (None, None)
    left = (task.not_before - timezone.now()).total_seconds()
    assert left == pytest.approx(30, abs=3)
    assert drain() == 0
    pass_time(task, "not_before")
    drain()
    task.refresh_from_db()
    assert script.calls == ["a", "b", "b", "c"]
    assert (task.status, task.attempt, task.deaths) == ("succeeded", 2, 0)


def test_it_drains_through_waits_when_asked(make, script):
    task = make()
    script.answers["only"] = [Wait(30), Wait(30), None]
    assert drain(ignore_waits=True) == 3
    task.refresh_from_db()
    assert task.status == TaskStatus.SUCCEEDED


def test_it_drains_no_more_than_its_limit(make, script):
    make()
    script.answers["only"] = Wait(1)
    assert drain(limit=7, ignore_waits=True) == 7


def test_it_keeps_what_a_step_remembers(make, script):
    make("three")

    def remember(run):
        run.state["seen"] = run.payload.get("name", "nothing")
        return Wait(5)

    found = []
    script.answers["a"] = [remember, lambda run: found.append(run.state["seen"])]
    drain(ignore_waits=True)
    assert found == ["nothing"]


def test_it_keeps_a_marker_of_a_step_that_is_killed(make, script, pass_time):
    task = make()

    def rebooted_once(run):
        if "rebooted" in run.state:
            return
        run.state["rebooted"] = True
        run.renew()
        raise Killed

    script.answers["only"] = rebooted_once
    with pytest.raises(Killed):
        drain()
    pass_time(task, "lease_until")
    drain()
    task.refresh_from_db()
    assert (task.status, task.deaths) == ("succeeded", 1)


def test_it_tells_a_step_when_it_was_first_asked(make, script):
    make()
    moments = []

    def ask(run):
        moments.append(run.asked_at())
        return Wait(1) if len(moments) < 2 else None

    script.answers["only"] = ask
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        turn()
        clock.shift(timedelta(seconds=30))
        turn()
    assert moments == [datetime(2030, 1, 1, tzinfo=UTC)] * 2


class TestNodeOutOfReach:
    def test_it_tries_again_with_backoff(self, make, script):
        task = make("three", node_id=new_object_id())
        script.answers["b"] = away()
        delays = []
        for _ in range(len(BACKOFF_SECONDS) + 1):
            task = turn()
            delays.append((task.not_before - timezone.now()).total_seconds())
        assert delays == pytest.approx([5, 10, 20, 40, 60, 60], abs=3)
        assert task.message == "worker-03 cannot be reached; trying again"
        assert (task.status, task.progress, task.node_slot, task.lease_until) == ("running", 30, None, None)
        assert script.calls == ["a", *["b"] * 6]
        assert script.settled == []

    def test_one_that_is_too_busy_is_not_said_to_be_away(self, make, script, pass_time):
        task = make("three", node_id=new_object_id())
        script.answers["b"] = NodeUnreachable("Node worker-03 is too busy to start it: a lock.", busy=True)
        assert turn().message == "worker-03 is too busy; trying again"
        pass_time(task, "deadline_at")
        assert turn().error.startswith("worker-03 is too busy. Given up after 10 minutes; ")

    def test_it_counts_anew_after_a_good_call(self, make, script):
        make("three")
        script.answers["a"] = [away(), away(), None]
        script.answers["b"] = [away(), None]
        turn()
        turn()
        task = turn()
        assert (task.not_before - timezone.now()).total_seconds() == pytest.approx(5, abs=3)
        assert turn().status == TaskStatus.SUCCEEDED

    def test_it_gives_up_at_the_deadline_and_undoes_nothing(self, make, script, pass_time):
        task = make("three")
        script.answers["b"] = away()
        turn()
        pass_time(task, "deadline_at")
        task = turn()
        assert script.calls == ["a", "b"]
        assert task.outcome == {"reason": "deadline", "undone": False}
        assert task.error == (
            "worker-03 cannot be reached. Given up after 10 minutes; it is not known whether it runs. "
            "Its state is read again when the node answers; if that takes long, ask an operator."
        )
        assert script.settled == [(task.id, "failed")]

    def test_one_that_was_passed_over_has_its_time_when_the_node_is_back(self, make, script, pass_time):
        task = make(node_id=new_object_id())
        pass_time(task, "deadline_at")
        assert turn().status == TaskStatus.SUCCEEDED
        assert script.calls == ["only"]

    def test_it_runs_no_step_of_a_task_that_was_passed_over_until_its_deadline(
        self, make, script, pass_time, monkeypatch
    ):
        task = make(node_id=new_object_id())
        monkeypatch.setattr(registry, "unreachable_nodes", lambda: {task.node_id})
        pass_time(task, "deadline_at")
        task = turn()
        assert script.calls == []
        assert (task.status, task.outcome) == ("failed", {"reason": "deadline", "undone": None})
        assert task.error.startswith("The node cannot be reached. Given up after 10 minutes; it is not known")


class TestRefused:
    def test_it_undoes_what_was_begun_the_last_first(self, make, script):
        task = make("three")
        script.answers["c"] = Refused("node-1 has no space left in its pool.")
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "c", "undo b", "undo a"]
        assert (task.status, task.error) == ("failed", "node-1 has no space left in its pool.")
        assert task.outcome == {"reason": "refused", "undone": True}
        assert (task.progress, task.message, task.node_slot) == (60, "Failed", None)
        assert script.settled == [(task.id, "failed")]

    def test_it_undoes_the_step_that_failed_and_none_after_it(self, make, script):
        make("three")
        script.answers["a"] = Refused("No such image.")
        drain()
        assert script.calls == ["a", "undo a"]

    def test_it_has_nothing_to_undo_where_no_step_can_be(self, make, script):
        task = make()
        script.answers["only"] = Refused("No.")
        drain()
        task.refresh_from_db()
        assert task.outcome == {"reason": "refused", "undone": None}

    @pytest.mark.parametrize("error", [away(), Refused("It is in use."), RuntimeError("a bug")])
    def test_it_stops_where_an_undo_fails(self, make, script, error):
        task = make("three")
        script.answers |= {"c": Refused("No."), "undo b": error}
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "c", "undo b"]
        assert (task.error, task.outcome) == ("No.", {"reason": "refused", "undone": False})

    def test_an_undo_whose_turn_is_still_to_come_waits_for_it(self, make, script):
        task = make("three")
        script.answers |= {"c": Refused("No."), "undo b": [Busy("An image is sent there."), None]}
        assert turn().message == "Waiting for its turn: An image is sent there"
        assert script.settled == []
        task = turn()
        assert script.calls == ["a", "b", "c", "undo b", "undo b", "undo a"]
        assert (task.error, task.outcome) == ("No.", {"reason": "refused", "undone": True})

    def test_an_undo_has_its_own_time_to_wait_for_its_turn(self, make, script):
        task = make("three")
        script.answers |= {"c": Refused("No."), "undo b": [Busy("An image is sent there."), None]}
        script.answers["a"] = lambda run: run.state["asked"].update(b="2020-01-01T00:00:00+00:00")
        assert turn().status == TaskStatus.RUNNING
        assert turn().outcome == {"reason": "refused", "undone": True}
        assert task.id in dict(script.settled)

    def test_an_undo_does_not_wait_for_its_turn_for_ever(self, make, script, monkeypatch):
        make("three")
        script.answers |= {"c": Refused("No."), "undo b": Busy("An image is sent there.")}
        monkeypatch.setattr(engine, "LONGEST_TURN", timedelta(0))
        assert turn().outcome == {"reason": "refused", "undone": False}

    def test_it_goes_on_undoing_when_the_worker_was_killed_in_the_middle(self, make, script, pass_time):
        task = make("three")
        script.answers |= {"c": Refused("No."), "undo b": None, "undo a": [Killed(), None]}
        with pytest.raises(Killed):
            drain()
        assert script.settled == []
        pass_time(task, "lease_until", "deadline_at")
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "c", "undo b", "undo a", "undo a"]
        assert (task.error, task.outcome) == ("No.", {"reason": "refused", "undone": True})
        assert script.settled == [(task.id, "failed")]

    def test_it_takes_an_error_of_the_domain_for_a_refusal(self, make, script):
        task = make()
        script.answers["only"] = Conflict("The address is taken.")
        drain()
        task.refresh_from_db()
        assert (task.error, task.outcome["reason"]) == ("The address is taken.", "refused")

    def test_it_asks_again_where_the_type_says_so(self, make, script):
        make("stubborn")
        script.answers["only"] = [Refused("The volume is in use."), Refused("The volume is in use."), None]
        turn()
        task = turn()
        assert (task.status, task.message, task.error) == ("running", "Refused; trying again", "The volume is in use.")
        assert (task.not_before - timezone.now()).total_seconds() == pytest.approx(10, abs=3)
        task = turn()
        assert (task.status, task.error) == ("succeeded", "")


class TestBug:
    def test_it_undoes_and_tells_nothing_but_the_task(self, make, script, caplog):
        task = make("three")
        script.answers["b"] = ZeroDivisionError("secret inner workings")
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "undo b", "undo a"]
        assert task.outcome == {"reason": "bug", "undone": True}
        assert task.error == f"Something went wrong that should not have. Tell an operator: task-{task.id}."
        assert "secret inner workings" in caplog.text

    @pytest.mark.parametrize("answers", [{"b": FAILS}, {"c": Refused("No."), "undo b": FAILS}])
    def test_one_in_which_the_database_fails_each_time_ends_in_the_end(self, make, script, pass_time, answers):
        task = make("three")
        script.answers |= answers
        for _ in range(MAX_INTERRUPTIONS):
            taken = queue.take("w1", ignore_waits=True)
            with pytest.raises(OperationalError):
                run_task(taken)
            give_back(taken)
        task = turn()
        assert (task.status, task.outcome["reason"], task.deaths) == ("failed", "deaths", 0)
        assert task.error.startswith("The database failed again and again ")
        assert "the step 'b', so it is not tried again." in task.error

    def test_interruptions_are_forgotten_when_the_step_is_done(self, make, script):
        make("three")
        for step in ("a", "b"):
            script.answers[step] = [FAILS] * (MAX_INTERRUPTIONS - 1) + [None]
            for _ in range(MAX_INTERRUPTIONS - 1):
                taken = queue.take("w1", ignore_waits=True)
                with pytest.raises(OperationalError):
                    run_task(taken)
                give_back(taken)
        assert turn().status == TaskStatus.SUCCEEDED

    def test_it_takes_a_database_that_fails_for_no_bug(self, make, script, pass_time):
        task = make()
        script.answers["only"] = [OperationalError("the server closed the connection"), None]
        with pytest.raises(OperationalError):
            drain()
        pass_time(task, "lease_until")
        drain()
        task.refresh_from_db()
        assert task.status == TaskStatus.SUCCEEDED

    def test_it_rolls_the_end_back_when_settling_fails(self, make, script, monkeypatch):
        task = make()
        monkeypatch.setattr(script, "settle", None)
        from dataclasses import replace

        from tasks.registry import registry

        def broken(ended):
            raise RuntimeError("cannot settle")

        registry.types["plain"] = replace(registry.types["plain"], settle=broken)
        with pytest.raises(RuntimeError):
            drain()
        task.refresh_from_db()
        assert (task.status, task.finished_at) == ("running", None)


class TestFence:
    """A worker that was slow comes back when another has its task: it touches nothing."""

    def steal(self, pass_time):
        def by_another(run):
            pass_time(run.task, "lease_until")
            assert queue.take("thief").attempt == run.task.attempt + 1

        return by_another

    def mine(self):
        return Task.objects.values("worker", "attempt", "status", "message", "progress", "state").get()

    @pytest.mark.parametrize(
        "then",
        [None, Wait(3), Refused("No."), away(), RuntimeError("a bug")],
        ids=["done", "wait", "no", "away", "bug"],
    )
    def test_it_touches_nothing(self, make, script, pass_time, then):
        make("three")
        steal, after = self.steal(pass_time), []

        def stolen(run):
            steal(run)
            after.append(self.mine())
            if isinstance(then, Exception):
                raise then
            return then

        script.answers["b"] = stolen
        run_task(queue.take("slow"))
        assert script.calls == ["a", "b"]
        assert script.settled == []
        assert after == [self.mine()]
        assert after[0]["worker"] == "thief"

    def test_it_ends_nothing_at_the_last_step(self, make, script, pass_time):
        make()
        script.answers["only"] = self.steal(pass_time)
        run_task(queue.take("slow"))
        assert (self.mine()["status"], script.settled) == ("running", [])

    def test_it_undoes_nothing_more(self, make, script, pass_time):
        make("three")
        script.answers |= {"c": Refused("No."), "undo b": self.steal(pass_time)}
        run_task(queue.take("slow"))
        assert script.calls == ["a", "b", "c", "undo b"]
        assert script.settled == []

    def test_it_stops_a_step_that_renews(self, make, script, pass_time):
        make()
        steal, went_on = self.steal(pass_time), []

        def long(run):
            steal(run)
            run.renew()
            went_on.append(True)

        script.answers["only"] = long
        run_task(queue.take("slow"))
        assert went_on == []

    def test_it_stops_when_the_task_was_aborted(self, make, script):
        task = make("three")
        script.answers["b"] = lambda run: queue.abort(task.id, reason="lost", error="The node is lost.") and None
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b"]
        assert (task.status, task.outcome["reason"], task.error) == ("failed", "lost", "The node is lost.")
        assert script.settled == [(task.id, "failed")]


class TestDeaths:
    def test_it_gives_up_a_task_that_kills_its_workers(self, make, script, pass_time):
        task = make("three")
        script.answers["b"] = Killed()
        for _ in range(MAX_DEATHS):
            with pytest.raises(Killed):
                run_task(queue.take("w1"))
            pass_time(task, "lease_until")
        task = turn()
        assert script.calls.count("b") == MAX_DEATHS
        assert (task.status, task.outcome) == ("failed", {"reason": "deaths", "undone": False})
        assert task.error == (
            "The worker died 5 times at the step 'b', so it is not tried again. "
            "An operator should look at the worker's log."
        )
        assert script.settled == [(task.id, "failed")]

    def test_one_that_kills_workers_while_it_is_taken_back_says_at_which_step(self, make, script, pass_time):
        task = make("three")
        script.answers |= {"c": Refused("No room."), "undo b": Killed()}
        for _ in range(MAX_DEATHS):
            with pytest.raises(Killed):
                drain()
            pass_time(task, "lease_until")
        drain()
        task.refresh_from_db()
        assert task.outcome == {"reason": "deaths", "undone": False}
        assert task.error == (
            "The worker died 5 times while it took back the step 'b', so it is not tried again. "
            "An operator should look at the worker's log. No room."
        )

    def test_what_workers_died_of_is_forgotten_when_its_step_is_done(self, make, script, pass_time):
        task = make("three")
        for step in ("a", "b", "c"):
            script.answers[step] = Killed()
            for _ in range(MAX_DEATHS - 1):
                with pytest.raises(Killed):
                    run_task(queue.take("w1"))
                pass_time(task, "lease_until")
            del script.answers[step]
        assert turn().status == "succeeded"

    def test_a_step_that_is_asked_again_is_not_done(self, make, script, pass_time):
        task = make("three")
        for answer in [Wait(0), Killed()] * MAX_DEATHS:
            script.answers["b"] = answer
            if isinstance(answer, Wait):
                run_task(queue.take("w1", ignore_waits=True))
                continue
            with pytest.raises(Killed):
                run_task(queue.take("w1", ignore_waits=True))
            pass_time(task, "lease_until")
        assert turn().outcome["reason"] == "deaths"


class TestStopping:
    class Leaving(Host):
        def stopping(self):
            return True

    def test_it_finishes_the_step_and_gives_the_task_back(self, make, script):
        task = make("three", node_id=new_object_id())
        run_task(queue.take("w1"), self.Leaving())
        task.refresh_from_db()
        assert script.calls == ["a"]
        assert (task.status, task.lease_until, task.node_slot, task.not_before) == ("running", None, None, None)
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "c"]
        assert (task.status, task.deaths) == ("succeeded", 0)

    def test_it_ends_a_task_whose_last_step_is_done(self, make, script):
        task = make()
        run_task(queue.take("w1"), self.Leaving())
        task.refresh_from_db()
        assert task.status == TaskStatus.SUCCEEDED

    def test_it_gives_an_undo_back_too(self, make, script):
        task = make("three")
        script.answers["a"] = [None]
        script.answers["b"] = Refused("No.")
        claimed = queue.take("w1")
        run_task(claimed, self.Leaving())  # a
        run_task(queue.take("w1"), self.Leaving())  # b, and its undo
        assert script.calls == ["a", "b", "undo b"]
        drain()
        task.refresh_from_db()
        assert script.calls == ["a", "b", "undo b", "undo a"]
        assert task.outcome == {"reason": "refused", "undone": True}

    def test_the_undo_that_comes_next_waits_for_its_turn_as_long_as_any(self, make, script, monkeypatch):
        """And not since the one before it began, which may have been at it for long."""
        task = make("three")
        script.answers["b"] = Refused("No.")
        run_task(queue.take("w1"), self.Leaving())  # a
        run_task(queue.take("w1"), self.Leaving())  # b, and its undo
        task.refresh_from_db()
        assert "since" not in task.state["failing"]
        assert task.state["failing"]["at"] == 0


def test_it_guards_each_step_for_less_than_a_lease(make, script, settings):
    settings.LEASE_SECONDS = 10
    limits = []

    class Guarding(Host):
        def guard(self, seconds):
            limits.append(seconds)
            return super().guard(seconds)

    make("three")
    run_task(queue.take("w1"), Guarding())
    assert limits == [9.0] * 3
    settings.LEASE_SECONDS = 90
    make()
    run_task(queue.take("w1"), Guarding())
    assert limits[-1] == 45.0
