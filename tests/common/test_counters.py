"""common.counters"""

import multiprocessing

import pytest

from common import counters


def test_it_counts_each_key():
    assert [counters.count("a"), counters.count("a"), counters.count("b"), counters.count("a")] == [1, 2, 1, 3]


def test_it_begins_anew_each_minute(time_machine):
    time_machine.move_to("2026-01-01T00:00:59Z", tick=False)
    assert [counters.count("a"), counters.count("a")] == [1, 2]
    time_machine.shift(1)
    assert counters.count("a") == 1


def test_it_keeps_apart_keys_that_share_a_place(monkeypatch):
    monkeypatch.setattr(counters, "hash", lambda key: int(key) * counters.SLOTS, raising=False)
    for number in range(1, 6):
        for key in range(1, 9):  # as many as are looked for
            assert counters.count(str(key)) == number


def test_where_there_is_no_place_left_the_quietest_loses_its_own(monkeypatch):
    monkeypatch.setattr(counters, "hash", lambda key: int(key) * counters.SLOTS, raising=False)
    for _ in range(50):
        counters.count("1")
    for key in range(2, 30):
        assert counters.count(str(key)) == 1
    assert counters.count("1") == 51


@pytest.mark.parametrize("number", [-1, 0, counters.SLOTS - 1, 2**63 - 1, -(2**63)])
def test_it_takes_every_hash(monkeypatch, number):
    monkeypatch.setattr(counters, "hash", lambda key: number, raising=False)
    assert [counters.count("a"), counters.count("a")] == [1, 2]


def _count(times):
    for _ in range(times):
        counters.count("shared")


def test_processes_count_together(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    fork = multiprocessing.get_context("fork")
    for _ in range(3):  # one after another, for nobody locks
        process = fork.Process(target=_count, args=(100,))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert counters.count("shared") == 301
