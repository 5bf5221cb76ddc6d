"""Statistics of a node's guests, while calls for them hang."""

import threading
from contextlib import contextmanager

import pytest

pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable, NotAsked, Refused
from vmbackends.libvirt import readings
from vmbackends.libvirt.readings import Readings

NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01")
OTHER = NodeRef("675a1b2c3d4e5f6a7b8c9d0f", "worker-02")


class Domain:
    def UUIDString(self):
        return "one"


class Nodes:
    """As many calls hang as a node has QEMUs that do; the others answer."""

    def __init__(self):
        self.hanging, self.calls, self.error = {}, [], None
        self.over = threading.Event()

    @contextmanager
    def at(self, node, what):
        self._node = node
        yield self

    def getAllDomainStats(self, what, how):
        node = self._node
        self.calls.append(node)
        if self.error:
            raise self.error
        if self.hanging.get(node.id):
            self.hanging[node.id] -= 1
            assert self.over.wait(10)
        return [(Domain(), {"cpu.time": 1})]


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.setattr(readings, "_ANSWERS_S", 0.2)
    nodes = Nodes()
    yield nodes
    nodes.over.set()


def test_it_reads_what_each_guest_uses(nodes):
    assert Readings(nodes).read(NODE).fields == {"one": {"cpu.time": 1}}
    assert len(nodes.calls) == 1


def test_one_for_which_there_is_no_thread_counts_for_none_that_hangs(nodes, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    subject = Readings(nodes)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        for _ in range(readings.MOST_HANGING + 2):
            with pytest.raises(NotAsked):
                subject.read(NODE)

    assert subject.read(NODE).fields == {"one": {"cpu.time": 1}}


def test_it_asks_again_past_one_that_hangs_and_then_needs_no_second_call(nodes):
    nodes.hanging[NODE.id] = 1
    subject = Readings(nodes)

    assert subject.read(NODE).fields
    assert len(nodes.calls) == 2
    assert subject.read(NODE).fields
    assert len(nodes.calls) == 3


def test_a_node_of_which_too_many_hang_is_asked_no_more_until_they_end(nodes):
    nodes.hanging[NODE.id] = 9
    subject = Readings(nodes)

    for _ in range(3):
        with pytest.raises(NodeUnreachable, match="worker-01 does not tell what its guests use"):
            subject.read(NODE)
    assert len(nodes.calls) == readings.MOST_HANGING + 1
    assert subject.read(OTHER).fields

    nodes.hanging.clear()
    nodes.over.set()
    for thread in threading.enumerate():
        if thread.name == "libvirt: measure":
            thread.join(10)
    assert subject.read(NODE).fields


def test_it_says_why_a_node_refuses(nodes):
    nodes.error = Refused("No.")
    subject = Readings(nodes)

    for _ in range(5):
        with pytest.raises(Refused):
            subject.read(NODE)
