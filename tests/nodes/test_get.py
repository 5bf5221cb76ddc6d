import pytest
from rest_framework.test import APIClient

from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_it_gives_a_node(client_of):
    node = NodeFactory(version=4)
    answer = client_of(UserFactory()).get(f"/resources/nodes/{node.id}")
    assert answer.status_code == 200
    assert answer.json()["_id"] == node.id
    assert answer.headers["ETag"] == '"4"'
    assert "uri" not in answer.json()


def test_it_has_no_time_for_a_node_never_seen(client_of):
    node = NodeFactory(online=False, last_seen=None)
    assert client_of(UserFactory()).get(f"/resources/nodes/{node.id}").json()["lastSeen"] is None


@pytest.mark.parametrize("node_id", ["f" * 24, "x", "F" * 24, "675a", "%00", "f" * 25])
def test_it_knows_no_other_node(client_of, node_id):
    answer = client_of(UserFactory()).get(f"/resources/nodes/{node_id}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_it_does_not_give_deleted_ones(client_of):
    node = NodeFactory(deleted_at="2025-12-03T10:00:00Z")
    assert client_of(UserFactory()).get(f"/resources/nodes/{node.id}").status_code == 404


def test_it_wants_a_token():
    assert APIClient().get(f"/resources/nodes/{NodeFactory().id}").status_code == 401
