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


def test_it_names_keys_of_uris_that_are_not_there(real, tmp_path):
    for name in ("cacert.pem", "clientcert.pem", "ssh"):
        (tmp_path / name).touch()
    NodeFactory(name="worker-01", uri=f"qemu+tls://worker-01/system?pkipath={tmp_path}")
    NodeFactory(name="worker-02", uri=f"qemu+ssh://worker-02/system?keyfile={tmp_path}/ssh")
    (message,) = real_nodes()
    assert (message.id, message.msg) == (
        "aiwm.W024", f"worker-01: its URI names {tmp_path}/clientkey.pem, which cannot be read here.",
    )  # fmt: skip


def test_it_names_nodes_without_an_address_and_those_in_the_open(real):
    NodeFactory(name="lonely", uri="")
    NodeFactory(name="naked", uri="qemu+tcp://10.0.0.1/system")
    NodeFactory(name="gone", uri="", lost=True)
    found = {message.id: message.msg for message in real_nodes()}
    assert "lonely" in found["aiwm.W022"]
    assert "naked" in found["aiwm.W023"]
    assert "gone" not in found["aiwm.W022"]
