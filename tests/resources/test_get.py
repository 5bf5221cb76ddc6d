"""GET /resources/:id"""

import pytest

from accounts.models import Role
from resources.states import Status
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


def own_vm(user, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, **fields)


def test_it_shows_the_vm_with_its_version_as_etag(client_of):
    user = UserFactory()
    vm = own_vm(user)

    answer = client_of(user).get(f"/resources/{vm.id}")

    assert (answer.status_code, answer["ETag"]) == (200, '"1"')
    assert answer.json()["_id"] == vm.id
    assert answer.json()["allowedActions"] == ["start", "edit", "delete"]


def test_it_answers_304_to_who_has_it_already(client_of):
    user = UserFactory()
    vm = own_vm(user)

    answer = client_of(user).get(f"/resources/{vm.id}", HTTP_IF_NONE_MATCH='"1"')

    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_it_answers_200_to_who_has_it_as_another_role(client_of, role):
    user = UserFactory(role=role)
    vm = own_vm(user)
    tag = client_of(user).get(f"/resources/{vm.id}")["ETag"]
    assert client_of(user).get(f"/resources/{vm.id}", HTTP_IF_NONE_MATCH=tag).status_code == 304

    user.role = Role.VIEWER if role == Role.MEMBER else Role.MEMBER
    user.save()
    answer = client_of(user).get(f"/resources/{vm.id}", HTTP_IF_NONE_MATCH=tag)

    assert answer.status_code == 200
    assert ("allowedActions" in answer.json()) == (user.role == Role.MEMBER)


def test_a_viewers_tag_is_no_version_to_ask_for(client_of):
    user = UserFactory(role=Role.VIEWER)
    vm = own_vm(user)
    tag = client_of(user).get(f"/resources/{vm.id}")["ETag"]
    assert tag == '"1-viewer"'

    user.role = Role.MEMBER
    user.save()
    answer = client_of(user).patch(f"/resources/{vm.id}", {"name": "new"}, format="json", HTTP_IF_MATCH=tag)

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")


def test_an_operator_who_is_a_viewer_at_home_has_the_tag_of_writers(client_of):
    answer = client_of(OperatorFactory(role=Role.VIEWER)).get(f"/resources/{VirtualMachineFactory().id}")
    assert answer["ETag"] == '"1"'


def test_it_tells_a_viewer_of_no_actions(client_of):
    user = UserFactory(role=Role.VIEWER)

    assert "allowedActions" not in client_of(user).get(f"/resources/{own_vm(user).id}").json()


def test_it_hides_another_organizations_vm(client_of):
    answer = client_of(UserFactory()).get(f"/resources/{VirtualMachineFactory().id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_it_shows_an_operator_any(client_of):
    assert client_of(OperatorFactory()).get(f"/resources/{VirtualMachineFactory().id}").status_code == 200


@pytest.mark.parametrize("vm_id", ["f" * 24, "675B2C3D4E5F6A7B8C9D0E0F", "short", "../etc", "task-" + "a" * 24])
def test_it_does_not_find_what_is_not_there(client_of, vm_id):
    answer = client_of(UserFactory()).get(f"/resources/{vm_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("others", [0, 99])
def test_it_takes_one_query_at_any_size(client_of, django_assert_num_queries, others):
    user, node = UserFactory(), NodeFactory(cap_vcpus=1000)
    vm, client = own_vm(user, node=node, status=Status.RUNNING), client_of(user)
    VirtualMachineFactory.create_batch(others, organization=user.organization, owner=user, node=node)

    for path in (f"/resources/{vm.id}", f"/resources/{vm.id}/status"):
        with django_assert_num_queries(1):
            assert client.get(path).status_code == 200


def test_it_shows_an_error_where_there_is_one(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.ERROR, error_message="The guest crashed")

    assert client_of(user).get(f"/resources/{vm.id}").json()["errorMessage"] == "The guest crashed"
