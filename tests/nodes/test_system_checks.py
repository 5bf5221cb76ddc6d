"""What `check --deploy` says of nodes."""

import pytest

from nodes.system_checks import real_nodes
from tests.factories import NodeFactory
from vmbackends import get_backend
from vmbackends.base import Capabilities

pytestmark = pytest.mark.django_db


@pytest.fixture
def real():
    get_backend().capabilities = Capabilities()


def ids():
    return [message.id for message in real_nodes()]


def test_the_mock_needs_no_nodes():
    assert ids() == []


def test_it_wants_a_node(real):
    assert ids() == ["aiwm.W021"]


def test_nodes_that_can_be_reached_in_safety_are_well(real):
    NodeFactory(uri="qemu+tls://worker-01.example.com/system")
    NodeFactory(uri="qemu+ssh://aiwm@worker-02.example.com/system")
    assert ids() == []


def test_it_names_nodes_without_an_address_and_those_in_the_open(real):
    NodeFactory(name="lonely", uri="")
    NodeFactory(name="naked", uri="qemu+tcp://10.0.0.1/system")
    NodeFactory(name="gone", uri="", lost=True)
    found = {message.id: message.msg for message in real_nodes()}
    assert "lonely" in found["aiwm.W022"]
    assert "naked" in found["aiwm.W023"]
    assert "gone" not in found["aiwm.W022"]
