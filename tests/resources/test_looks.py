"""Nodes are asked at once, and one that hangs holds up nobody."""

import threading

from resources.looks import Looks, Noticed
from vmbackends.errors import NodeUnreachable, Refused


def hang(event):
    def call():
        event.wait(30)
        return "late"

    return call


def fail():
    raise Refused("no")


def test_it_gives_each_its_answer_or_error():
    answers = dict(Looks(10).all({"a": lambda: 1, "b": fail, "c": lambda: 3}))
    assert (answers["a"], answers["c"]) == (1, 3)
    assert isinstance(answers["b"], Refused)


def test_it_asks_more_than_it_asks_at_once():
    calls = {str(n): (lambda n=n: n) for n in range(50)}
    assert dict(Looks(10).all(calls)) == {str(n): n for n in range(50)}


def test_one_that_hangs_is_out_of_reach_and_holds_up_no_other():
    event = threading.Event()
    looks = Looks(0.2)
    order = [node_id for node_id, _ in looks.all({"hangs": hang(event), "a": lambda: 1, "b": lambda: 2})]
    assert order[-1] == "hangs"

    again = dict(looks.all({"hangs": lambda: "not asked", "a": lambda: 1}))
    assert isinstance(again["hangs"], NodeUnreachable)
    assert again["a"] == 1

    event.set()
    for thread in threading.enumerate():
        if thread.name == "look at hangs":
            thread.join(10)
    assert dict(looks.all({"hangs": lambda: "asked"})) == {"hangs": "asked"}


def test_a_node_that_tells_again_and_again_is_taken_once_in_a_while(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("resources.looks.time.monotonic", lambda: now[0])
    noticed = Noticed(1.0)
    noticed.add("a")
    noticed.add("a")
    assert noticed.take() == {"a"}
    noticed.add("a")
    noticed.add("b")
    assert noticed.take() == {"b"}
    now[0] += 1
    assert noticed.take() == {"a"}
    assert noticed.take() == set()


def test_it_wakes_the_worker(monkeypatch):
    woken = []
    monkeypatch.setattr("tasks.pulse._wake", lambda: woken.append(1))
    Noticed(1.0).add("a")
    assert woken == [1]
