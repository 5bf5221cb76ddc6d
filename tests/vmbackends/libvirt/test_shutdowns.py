"""Guests that are asked to shut down, while others do not take the request."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

import logging
import threading
from contextlib import contextmanager

import pytest

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable, NotAsked, Refused
from vmbackends.libvirt import domains, shutdowns
from vmbackends.libvirt.shutdowns import MOST, MOST_BY_AGENT, Shutdowns

NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01")
OTHER = NodeRef("675a1b2c3d4e5f6a7b8c9d0f", "worker-02")
BUTTON = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
AGENT_OR_BUTTON = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT | BUTTON


class Guests:
    """All of them have an agent, and may hang."""

    def __init__(self):
        self.asked, self.hang, self.error, self.running = [], False, None, True
        self.over, self.reached = threading.Event(), threading.Event()
        self.reached.set()

    @contextmanager
    def at(self, node, what, vm):
        assert self.reached.wait(10)
        yield self

    def shutdownFlags(self, flags):
        self.asked.append(flags)
        if self.hang:
            assert self.over.wait(10)
        if self.error:
            raise self.error


@pytest.fixture
def guests(monkeypatch):
    guests = Guests()
    monkeypatch.setattr(shutdowns, "_TAKES_A_REQUEST_S", 0.05)
    monkeypatch.setattr(domains, "find", lambda connection, vm: guests)
    monkeypatch.setattr(domains, "is_active", lambda domain: guests.running)
    monkeypatch.setattr(domains, "has_agent", lambda domain: True)
    yield guests
    guests.reached.set()
    wait_for_all(guests)


def wait_for_all(guests):
    guests.over.set()
    for thread in threading.enumerate():
        if thread.name == "libvirt-shutdown":
            thread.join(10)


def test_it_asks_by_the_agent(guests):
    Shutdowns(guests).ask(NODE, vm_spec())

    assert guests.asked == [AGENT_OR_BUTTON]


def test_one_that_is_off_is_not_asked(guests):
    guests.running = False
    Shutdowns(guests).ask(NODE, vm_spec())

    assert guests.asked == []


def test_while_some_do_not_take_it_others_are_asked_by_the_button_and_then_not_at_all(guests, caplog):
    subject, guests.hang = Shutdowns(guests), True
    vms = [vm_spec() for _ in range(MOST)]
    for vm in vms:
        subject.ask(NODE, vm)
    assert guests.asked == [AGENT_OR_BUTTON] * MOST_BY_AGENT + [BUTTON] * (MOST - MOST_BY_AGENT)
    assert "does not take the request" in caplog.text
    with caplog.at_level(logging.WARNING):
        subject.ask(NODE, vm_spec())
    assert len(guests.asked) == MOST
    assert "a guest is not asked to shut down" in caplog.text
    subject.ask(OTHER, vm_spec())
    assert len(guests.asked) == MOST + 1

    wait_for_all(guests)
    subject.ask(NODE, vm_spec())
    assert guests.asked[-1] == AGENT_OR_BUTTON


def test_one_that_does_not_take_it_is_not_asked_twice(guests):
    subject, vm, guests.hang = Shutdowns(guests), vm_spec(), True
    subject.ask(NODE, vm)
    subject.ask(NODE, vm)

    assert len(guests.asked) == 1


def test_a_node_that_is_slow_asks_no_guest_when_nobody_waits_any_more(guests):
    guests.reached.clear()
    with pytest.raises(NodeUnreachable, match="worker-01 was too slow to shut it down"):
        Shutdowns(guests).ask(NODE, vm_spec())
    guests.reached.set()
    wait_for_all(guests)

    assert guests.asked == []


def test_one_for_which_there_is_no_thread_takes_no_turn(guests, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    subject, vm = Shutdowns(guests), vm_spec()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(NotAsked):
            subject.ask(NODE, vm)
    subject.ask(NODE, vm)

    assert guests.asked == [AGENT_OR_BUTTON]


def test_it_says_why_a_node_refuses(guests):
    subject, vm, guests.error = Shutdowns(guests), vm_spec(), Refused("No.")

    for _ in range(2):
        with pytest.raises(Refused):
            subject.ask(NODE, vm)
