"""Which task a worker is given."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now

from common.ids import new_object_id
from tasks import queue
from tasks.models import Task, TaskStatus
from tasks.registry import registry

pytestmark = pytest.mark.django_db


def ids(*tasks):
    return [task and task.id for task in tasks]


def test_it_gives_the_oldest_first(make):
    first, second = make(), make()
    assert ids(queue.take("w1"), queue.take("w2"), queue.take("w3")) == [first.id, second.id, None]


def test_it_claims(make, settings):
    task = queue.take("w1") if make() else None
    assert (task.worker, task.attempt, task.status, task.deaths) == ("w1", 1, TaskStatus.RUNNING, 0)
    assert task.started_at is not None
    assert task.lease_until - task.started_at == pytest.approx(timedelta(seconds=90), abs=timedelta(seconds=2))
    assert task.deadline_at - task.started_at == pytest.approx(timedelta(seconds=600), abs=timedelta(seconds=2))


def test_it_leaves_no_deadline_where_the_type_has_none(make):
    make("stubborn")
    assert queue.take("w1").deadline_at is None


def test_it_costs_one_query_when_idle(make, django_assert_num_queries):
    task = make()
    Task.objects.filter(pk=task.pk).update(not_before=Now() + timedelta(minutes=1))
    with django_assert_num_queries(1):
        assert queue.take("w1") is None


def test_it_gives_a_task_to_one_of_two_workers_that_saw_it(make, monkeypatch):
    make()
    claim, stolen = queue._claim_with, []

    def another_is_first(seen, worker, *rest):
        if not stolen:
            stolen.append(claim(seen, "quick", *rest))
        return claim(seen, worker, *rest)

    monkeypatch.setattr(queue, "_claim_with", another_is_first)
    assert queue.take("slow") is None
    task = Task.objects.get()
    assert (stolen, task.worker, task.attempt) == ([True], "quick", 1)


def test_it_waits_until_it_is_due(make, pass_time):
    task = make()
    Task.objects.filter(pk=task.pk).update(not_before=Now() + timedelta(minutes=1))
    assert queue.take("w1") is None
    pass_time(task, "not_before")
    assert queue.take("w1").id == task.id


def test_it_can_ignore_waits(make):
    task = make()
    Task.objects.filter(pk=task.pk).update(not_before=Now() + timedelta(minutes=1))
    assert queue.take("w1", ignore_waits=True).id == task.id


def test_it_keeps_the_order_of_one_subject(make):
    subject = new_object_id()
    first, _second = make(subject_id=subject), make(subject_id=subject)
    other = make()
    assert ids(queue.take("w1"), queue.take("w2"), queue.take("w3")) == [first.id, other.id, None]


def test_it_gives_a_node_two_at_a_time(make):
    node = new_object_id()
    tasks = [make(node_id=node) for _ in range(3)]
    elsewhere = make(node_id=new_object_id())
    taken = [queue.take(f"w{n}") for n in range(4)]
    assert ids(*taken) == [tasks[0].id, tasks[1].id, elsewhere.id, None]
    assert [task.node_slot for task in taken[:3]] == [f"{node}:0", f"{node}:1", f"{elsewhere.node_id}:0"]


def test_it_sees_past_a_long_queue_of_a_full_node(make):
    node = new_object_id()
    for _ in range(queue._WINDOW + 5):
        make(node_id=node)
    elsewhere = make(node_id=new_object_id())
    assert queue.take("w1").node_id == queue.take("w2").node_id == node
    assert queue.take("w3").id == elsewhere.id


def test_it_takes_the_other_slot_when_one_was_taken_meanwhile(make, monkeypatch):
    node = new_object_id()
    make(node_id=node)
    make(node_id=node)
    queue.take("w1")
    monkeypatch.setattr(queue, "_free_slots", lambda seen, slots: [f"{node}:0", f"{node}:1"])
    assert queue.take("w2").node_slot == f"{node}:1"


def test_it_passes_a_task_over_when_both_slots_were_taken_meanwhile(make, monkeypatch):
    def taken(*args):
        raise IntegrityError("UNIQUE constraint failed: tasks_task.node_slot")

    task = make(node_id=new_object_id())
    monkeypatch.setattr(queue, "_claim_with", taken)
    assert queue.take("w1") is None
    task.refresh_from_db()
    assert (task.status, task.attempt) == (TaskStatus.PENDING, 0)


def test_it_gives_an_expired_lease_out_again(make, pass_time):
    task = make(node_id=new_object_id())
    first = queue.take("w1")
    assert queue.take("w2") is None
    pass_time(task, "lease_until")
    again = queue.take("w2")
    assert (again.id, again.worker, again.attempt, again.deaths) == (task.id, "w2", 2, 1)
    assert again.node_slot == first.node_slot
    assert again.started_at == first.started_at
    assert again.deadline_at == first.deadline_at


def test_it_gives_an_expired_lease_out_again_on_a_full_node(make, pass_time):
    node = new_object_id()
    first, second, _third = (make(node_id=node) for _ in range(3))
    queue.take("w1")
    queue.take("w2")
    pass_time(second, "lease_until")
    assert ids(queue.take("w3"), queue.take("w4")) == [second.id, None]
    assert first.id


def test_it_leaves_types_that_it_does_not_know(make, monkeypatch):
    make()
    monkeypatch.setattr(registry, "types", {})
    assert queue.take("w1") is None


class TestNodesOutOfReach:
    @pytest.fixture
    def away(self, monkeypatch):
        node = new_object_id()
        monkeypatch.setattr(registry, "unreachable_nodes", lambda: {node})
        return node

    def test_it_passes_them_over(self, make, away):
        make(node_id=away)
        elsewhere, nowhere = make(node_id=new_object_id()), make()
        assert ids(queue.take("w1"), queue.take("w2"), queue.take("w3")) == [elsewhere.id, nowhere.id, None]

    def test_it_starts_their_deadline_once(self, make, away):
        task, patient = make(node_id=away), make("stubborn", node_id=away)
        queue.take("w1")
        task.refresh_from_db()
        patient.refresh_from_db()
        first = task.deadline_at
        assert first is not None
        assert patient.deadline_at is None
        queue.take("w1")
        task.refresh_from_db()
        assert task.deadline_at == first
        assert (task.status, task.attempt) == (TaskStatus.PENDING, 0)

    def test_it_gives_them_out_when_their_deadline_is_over(self, make, away, pass_time):
        task = make(node_id=away)
        pass_time(task, "deadline_at")
        assert queue.take("w1").id == task.id
