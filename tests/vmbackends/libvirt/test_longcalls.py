"""Calls that outlive the step which made them: told of while they go on, and of their failure once."""

import gc
import threading
import traceback
import weakref
from contextlib import contextmanager

import pytest

pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NodeRef
from vmbackends.errors import Busy, NodeUnreachable, NotAsked, Refused
from vmbackends.libvirt import domains, longcalls
from vmbackends.libvirt.longcalls import LongCalls

NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01")
OTHER = NodeRef("675a1b2c3d4e5f6a7b8c9d0f", "worker-02")


class NoConnections:
    @contextmanager
    def at(self, node, what, vm=None):
        yield None


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(domains, "require", lambda connection, vm: f"domain of {vm.id}")
    return LongCalls(NoConnections())


class Slow:
    """A call that lasts until it is told how to end."""

    def __init__(self):
        self.made, self._end, self._error = [], threading.Event(), None

    def __call__(self, domain):
        self.made.append(domain)
        assert self._end.wait(10)
        if self._error:
            raise self._error

    def end(self, calls, vm, error=None):
        self._error = error
        self._end.set()
        calls._calls[vm.id].ended.exception(10)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(longcalls, "_WAITS_S", 0.01)
    return Slow()


def test_one_that_ends_at_once_is_over_when_it_is_begun(calls):
    vm, asked = vm_spec(), []

    assert calls.begin(NODE, "do it", vm, "one", asked.append)

    assert asked == [f"domain of {vm.id}"]
    assert not calls.goes_on(vm, "one")
    assert not calls.has_ended(vm, "one"), "told already"


def test_one_that_fails_at_once_says_so_where_it_is_begun_and_no_more(calls):
    vm = vm_spec()

    def fail(domain):
        raise Refused("No.")

    with pytest.raises(Refused):
        calls.begin(NODE, "do it", vm, "one", fail)

    assert not calls.has_ended(vm, "one")


def test_one_for_which_there_is_no_thread_takes_no_turn(calls, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    for _ in range(longcalls.MOST_OF_A_NODE + 1):
        vm = vm_spec()
        with pytest.raises(NotAsked, match="worker-01 was not asked: can't start new thread") as told:
            calls.begin(NODE, "do it", vm, "one", print)
        assert told.value.busy
        assert not calls.goes_on(vm, "one")


def test_a_failure_that_nobody_fetches_keeps_no_connection(calls, slow, monkeypatch):
    class Domain:
        pass

    domain = Domain()
    gone, vm = weakref.ref(domain), vm_spec()
    monkeypatch.setattr(domains, "require", lambda connection, vm: gone())
    assert not calls.begin(NODE, "do it", vm, "one", slow)
    slow.end(calls, vm, Refused("No."))
    slow.made.clear()
    del domain
    gc.collect()

    assert gone() is None
    with pytest.raises(Refused) as told:
        calls.has_ended(vm, "one")
    assert any(frame.name == "__call__" for frame in traceback.extract_tb(told.tb)), "where it came from is known still"


def test_a_failure_that_was_fetched_keeps_nothing_of_who_fetched_it(calls, slow):
    class Connection:
        pass

    def fetch():
        connection = Connection()
        with pytest.raises(Refused):
            calls.has_ended(vm, "one")
        return weakref.ref(connection)

    vm = vm_spec()
    assert not calls.begin(NODE, "do it", vm, "one", slow)
    slow.end(calls, vm, Refused("No."))
    slow._error = None
    gone = fetch()
    gc.collect()

    assert gone() is None


def test_one_that_lasts_goes_on_until_it_ends(calls, slow):
    vm = vm_spec()
    assert not calls.begin(NODE, "do it", vm, "one", slow)

    assert calls.goes_on(vm, "one")
    assert not calls.goes_on(vm, "of another step")
    assert not calls.goes_on(vm_spec(), "one")
    assert not calls.has_ended(vm, "one")

    slow.end(calls, vm)
    assert not calls.goes_on(vm, "one")
    assert not calls.has_ended(vm, "of another step")
    assert [calls.has_ended(vm, "one") for _ in range(2)] == [True, False], "told once"


def test_the_failure_of_one_that_lasted_is_told_once_and_to_its_own_step(calls, slow):
    vm = vm_spec()
    calls.begin(NODE, "do it", vm, "one", slow)
    slow.end(calls, vm, Refused("No."))

    assert not calls.has_ended(vm, "of another step")
    with pytest.raises(Refused):
        calls.has_ended(vm, "one")
    assert not calls.has_ended(vm, "one")


def test_one_too_many_of_a_node_is_not_made(calls, slow):
    vms = [vm_spec() for _ in range(longcalls.MOST_OF_A_NODE)]
    for vm in vms:
        calls.begin(NODE, "do it", vm, "one", slow)
    last, asked = vm_spec(), []

    with pytest.raises(Busy, match="Node worker-01 is busy with others"):
        calls.begin(NODE, "do it", last, "one", asked.append)
    assert (asked, calls.goes_on(last, "one")) == ([], False)
    calls.begin(OTHER, "do it", last, "one", asked.append)
    assert len(asked) == 1

    for vm in vms:
        slow.end(calls, vm)
    calls.begin(NODE, "do it", last, "one", asked.append)
    assert len(asked) == 2


def test_one_that_hangs_has_its_turn_still_when_its_vm_has_another(calls, slow):
    vm = vm_spec()
    for step in range(longcalls.MOST_OF_A_NODE):
        calls.begin(NODE, "do it", vm, step, slow)

    with pytest.raises(Busy):
        calls.begin(NODE, "do it", vm_spec(), "one", slow)
    slow._end.set()


def test_starts_take_no_turns_of_others_nor_the_others_of_theirs(calls, slow):
    for _ in range(longcalls.MOST_OF_A_NODE):
        calls.begin(NODE, "do it", vm_spec(), "one", slow)
    for _ in range(longcalls.MOST_STARTS_OF_A_NODE):
        calls.begin(NODE, "start it", vm_spec(), "one", slow, starts=True)
    for starts in (False, True):
        with pytest.raises(Busy):
            calls.begin(NODE, "do it", vm_spec(), "one", slow, starts=starts)
    slow._end.set()


def test_a_thread_that_slept_makes_no_call_any_more(calls, monkeypatch):
    monkeypatch.setattr(longcalls, "_FRESH_S", -1.0)
    asked = []

    with pytest.raises(NodeUnreachable, match="worker-01 was asked too late to do it"):
        calls.begin(NODE, "do it", vm_spec(), "one", asked.append)

    assert asked == []
