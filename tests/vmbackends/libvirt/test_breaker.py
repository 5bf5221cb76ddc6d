"""A node that cannot be reached is left alone, for longer each time."""

import pytest

from vmbackends.libvirt.breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(first_s=1, longest_s=10, clock=clock)


def test_it_lets_all_through_while_the_node_answers(breaker):
    assert [breaker.admit() for _ in range(3)] == [0, 0, 0]
    breaker.succeeded()
    assert breaker.admit() == 0


def test_it_says_how_long_a_node_that_failed_is_left_alone(breaker, clock):
    breaker.failed()

    assert breaker.admit() == 1
    clock.now += 0.75
    assert breaker.admit() == 0.25
    clock.now += 0.25
    assert breaker.admit() == 0


def test_it_doubles_the_time_with_each_failure_up_to_the_longest(breaker, clock):
    waits = []
    for _ in range(6):
        breaker.failed()
        waits.append(breaker.admit())
        clock.now += waits[-1]
        assert breaker.admit() == 0

    assert waits == [1, 2, 4, 8, 10, 10]


def test_it_lets_one_through_when_the_time_is_over(breaker, clock):
    breaker.failed()
    clock.now += 1

    assert breaker.admit() == 0
    assert breaker.admit() == 1


def test_it_lets_another_through_if_the_one_never_says_how_it_went(breaker, clock):
    breaker.failed()
    clock.now += 1
    breaker.admit()
    clock.now += 1

    assert breaker.admit() == 0


def test_it_begins_anew_after_a_success(breaker, clock):
    for _ in range(4):
        breaker.failed()
    clock.now += 8
    assert breaker.admit() == 0
    breaker.succeeded()
    assert [breaker.admit() for _ in range(3)] == [0, 0, 0]

    breaker.failed()
    assert breaker.admit() == 1


def test_it_counts_failures_without_end(breaker):
    for _ in range(5000):
        breaker.failed()

    assert breaker.admit() == 10


def test_it_waits_for_nothing_when_told_so(clock):
    breaker = Breaker(first_s=0, longest_s=0, clock=clock)
    breaker.failed()

    assert breaker.admit() == 0
