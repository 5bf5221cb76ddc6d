"""GET /resources/tasks, /resources/tasks/:taskId, /resources/:id/tasks; POST .../cancel"""

import pytest

from accounts.models import Role
from resources.states import Status
from tasks.worker import drain
from tests.factories import OperatorFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def vm(user):
    return VirtualMachineFactory(organization=user.organization, owner=user)


@pytest.fixture
def task_id(client_of, user, vm):
    return client_of(user).post(f"/resources/{vm.id}/start").json()["taskId"]


def test_it_shows_a_task(client_of, user, vm, task_id):
    answer = client_of(user).get(f"/resources/tasks/{task_id}").json()

    assert (answer["taskId"], answer["resourceId"], answer["type"]) == (task_id, vm.id, "vm-deploy")
    assert (answer["status"], answer["progress"], answer["createdBy"]) == ("pending", 0, user.id)
    assert answer["createdAt"].endswith("Z")
    assert answer["startedAt"] is answer["finishedAt"] is answer["error"] is None


def test_it_lists_those_of_a_vm_and_of_the_organization(client_of, user, vm, task_id):
    other = VirtualMachineFactory()
    client_of(other.owner).post(f"/resources/{other.id}/start")
    client = client_of(user)

    assert [task["taskId"] for task in client.get(f"/resources/{vm.id}/tasks").json()["data"]] == [task_id]
    assert [task["taskId"] for task in client.get("/resources/tasks").json()["data"]] == [task_id]
    assert client_of(OperatorFactory()).get("/resources/tasks").json()["pagination"]["total"] == 2


@pytest.mark.parametrize("tail", ["", "/cancel"])
def test_it_hides_another_organizations(client_of, task_id, tail):
    client = client_of(UserFactory())
    answer = client.post(f"/resources/tasks/{task_id}{tail}") if tail else client.get(f"/resources/tasks/{task_id}")

    assert answer.status_code == 404


@pytest.mark.parametrize("made_up", ["task-" + "f" * 24, "task-x", "f" * 24, "task"])
def test_it_does_not_find_what_is_not_there(client_of, user, made_up):
    assert client_of(user).get(f"/resources/tasks/{made_up}").status_code == 404


def test_one_that_waits_is_cancelled(client_of, user, vm, task_id):
    answer = client_of(user).post(f"/resources/tasks/{task_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    vm.refresh_from_db()
    assert (vm.status, vm.task) == (Status.QUEUED, None)


def test_a_cancel_takes_no_body(client_of, user, task_id):
    answer = client_of(user).post(f"/resources/tasks/{task_id}/cancel", {"force": True}, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_field")
    assert client_of(user).get(f"/resources/tasks/{task_id}").json()["status"] == "pending"


def test_one_that_has_ended_is_not(client_of, user, task_id):
    drain(ignore_waits=True)

    assert client_of(user).post(f"/resources/tasks/{task_id}/cancel").status_code == 409


def test_a_deletion_is_not(client_of, user):
    vm = VirtualMachineFactory(organization=user.organization, owner=user, status=Status.STOPPED)
    client = client_of(user)
    task_id = client.delete(f"/resources/{vm.id}").json()["taskId"]

    assert client.post(f"/resources/tasks/{task_id}/cancel").status_code == 409


def test_a_viewer_reads_and_does_not_cancel(client_of, user, task_id):
    client = client_of(UserFactory(role=Role.VIEWER, organization=user.organization))

    assert client.get(f"/resources/tasks/{task_id}").status_code == 200
    assert client.post(f"/resources/tasks/{task_id}/cancel").status_code == 403
