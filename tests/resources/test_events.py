"""GET /resources/:id/events"""

from datetime import timedelta

import pytest
from django.db import connection

from accounts.actors import SYSTEM, Actor
from accounts.audit import record
from accounts.models import AuditEntry, Role
from resources.states import Status
from tests.factories import OperatorFactory, SnapshotFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def vm(user):
    return VirtualMachineFactory(organization=user.organization, owner=user)


def events(client, vm, query=""):
    answer = client.get(f"/resources/{vm.id}/events{query}")
    assert answer.status_code == 200
    return answer.json()


def seen(client, vm):
    return [(event["action"], event["outcome"]) for event in events(client, vm)["data"]]


def test_it_lists_what_was_done_newest_first(client_of, user, vm, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    client = client_of(user)
    client.patch(f"/resources/{vm.id}", {"name": "new"}, format="json", headers={"X-Request-Id": "request-1"})
    time_machine.shift(timedelta(seconds=1))
    client.post(f"/resources/{vm.id}/start")

    answer = events(client, vm)

    assert answer["pagination"] == {"total": 2, "page": 1, "limit": 20, "totalPages": 1}
    newest, oldest = answer["data"]
    assert (newest["action"], newest["timestamp"]) == ("vm.start", "2026-01-01T00:00:01.000Z")
    entry = AuditEntry.objects.get(action="vm.update")
    assert (oldest.pop("before")["name"], oldest.pop("after")["name"]) == (vm.name, "new")
    assert oldest == {
        "eventId": entry.id,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "actor": {"userId": user.id, "username": user.username},
        "via": "api",
        "action": "vm.update",
        "objectType": "vm",
        "objectId": vm.id,
        "outcome": "done",
        "count": 1,
        "requestId": "request-1",
    }


def test_it_has_the_snapshots_and_tasks_of_the_vm_and_of_no_other(client_of, user):
    snapshot = SnapshotFactory(vm__organization=user.organization, vm__owner=user)
    other = SnapshotFactory(vm__organization=user.organization, vm__owner=user)
    client = client_of(user)
    for each in (snapshot, other):
        client.post(f"/resources/{each.vm_id}/snapshots/{each.public_id}/restore")
    task_id = client.get(f"/resources/{snapshot.vm_id}/tasks").json()["data"][0]["taskId"]
    client.post(f"/resources/tasks/{task_id}/cancel")

    assert seen(client, snapshot.vm) == [("task.cancel", "done"), ("snapshot.restore", "done")]
    assert seen(client, other.vm) == [("snapshot.restore", "done")]


def test_it_has_what_one_was_refused_with_the_reason(client_of, user, vm):
    client = client_of(user)
    client.post(f"/resources/{vm.id}/stop")
    client.post(f"/resources/{vm.id}/stop")

    (event,) = events(client, vm)["data"]
    assert (event["outcome"], event["code"], event["count"]) == ("refused", "action_not_allowed", 2)
    assert event["detail"].startswith("Cannot stop")


def test_a_viewer_sees_it_too(client_of, user, vm):
    client_of(user).post(f"/resources/{vm.id}/start")
    viewer = UserFactory(role=Role.VIEWER, organization=user.organization)
    assert seen(client_of(viewer), vm) == [("vm.start", "done")]


def test_what_strangers_tried_is_for_operators(client_of, user, vm):
    stranger = UserFactory()
    client_of(stranger).delete(f"/resources/{vm.id}")
    assert events(client_of(user), vm) == {
        "data": [],
        "pagination": {"total": 0, "page": 1, "limit": 20, "totalPages": 0},
    }
    (event,) = events(client_of(OperatorFactory()), vm)["data"]
    assert (event["actor"]["username"], event["code"]) == (stranger.username, "not_found")


def test_addresses_are_for_operators(client_of, user, vm):
    operator = OperatorFactory()
    record(Actor.of(operator, "api", "203.0.113.9"), "vm.stop", object_type="vm", object_id=vm.id, org_id=None)
    assert "203.0.113.9" not in str(events(client_of(user), vm))
    assert events(client_of(operator), vm)["data"][0]["address"] == "203.0.113.9"


def test_the_platform_has_no_user_id(client_of, user, vm):
    record(SYSTEM, "vm.start", object_type="vm", object_id=vm.id, org_id=None)
    assert events(client_of(user), vm)["data"][0]["actor"] == {"username": "system"}


def test_it_has_pages(client_of, user, vm, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    for number in range(5):
        record(SYSTEM, f"n{number}", object_type="vm", object_id=vm.id, org_id=None)
        time_machine.shift(1)
    client = client_of(user)
    pages = [events(client, vm, f"?limit=2&page={page}") for page in (1, 2, 3, 4)]
    assert [[event["action"] for event in page["data"]] for page in pages] == [["n4", "n3"], ["n2", "n1"], ["n0"], []]
    assert pages[0]["pagination"] == {"total": 5, "page": 1, "limit": 2, "totalPages": 3}


def test_it_hides_another_organizations(client_of, vm):
    assert client_of(UserFactory()).get(f"/resources/{vm.id}/events").status_code == 404


def test_a_deleted_vm_has_none(client_of, user, vm):
    client = client_of(user)
    client.delete(f"/resources/{vm.id}")
    assert client.get(f"/resources/{vm.id}/events").status_code == 404


@pytest.mark.parametrize("vm_id", ["f" * 24, "short"])
def test_it_does_not_find_what_is_not_there(client_of, user, vm_id):
    assert client_of(user).get(f"/resources/{vm_id}/events").status_code == 404


@pytest.mark.parametrize("query", ["page=0", "limit=101", "limit=many", "status=done", "page=1&page=2"])
def test_it_refuses_parameters_that_it_does_not_know(client_of, user, vm, query):
    answer = client_of(user).get(f"/resources/{vm.id}/events?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "validation")


def test_it_costs_two_queries(client_of, user, vm, django_assert_num_queries):
    client = client_of(user)
    client.post(f"/resources/{vm.id}/start")
    with django_assert_num_queries(2):
        assert len(events(client, vm)["data"]) == 1


def test_it_reads_by_an_index(vm):
    plan = AuditEntry.objects.filter(root_id=vm.id).order_by("-at", "-id")[:20].explain()
    assert "audit_of_root" in plan or connection.vendor != "sqlite"


def test_a_vm_on_the_mock_shows_its_whole_story(client_of, user):
    vm = VirtualMachineFactory(organization=user.organization, owner=user, status=Status.RUNNING)
    client = client_of(user)
    client.get(f"/resources/{vm.id}/console")
    client.post(f"/resources/{vm.id}/snapshots", {"name": "one"}, format="json")
    client.post(f"/resources/{vm.id}/stop", {"force": True}, format="json")
    assert {action for action, _ in seen(client, vm)} == {"vm.console", "snapshot.create", "vm.stop"}
