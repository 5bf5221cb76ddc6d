"""POST /resources/:id/start, stop and restart; and every cell of the table of statuses and actions"""

import pytest
from django.db import connection

from accounts.models import Role
from resources.models import LogEntry, VirtualMachine, VmSecret
from resources.states import ALLOWED, WORKING, Action, Status
from tasks.models import Task
from tasks.worker import drain
from tests.factories import NodeFactory, UserFactory, VirtualMachineFactory, static_network

pytestmark = pytest.mark.django_db

LIFECYCLE = (Action.START, Action.STOP, Action.RESTART)


def own_vm(user, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, **fields)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", LIFECYCLE)
def test_each_cell_of_the_table(client_of, status, action):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = client_of(user).post(f"/resources/{vm.id}/{action}")

    vm.refresh_from_db()
    if action in ALLOWED[status]:
        assert answer.status_code == 202, answer.content
        assert answer.json() == {
            "success": True,
            "message": f"VM {action} command sent successfully",
            "taskId": f"task-{vm.task_id}",
        }
        assert vm.status == WORKING[action]
    else:
        assert answer.status_code == 409
        assert answer.json()["code"] == "action_not_allowed"
        assert answer.json()["currentStatus"] == status
        assert answer.json()["allowedActions"] == [str(allowed) for allowed in ALLOWED[status]]
        assert (vm.status, vm.task) == (status, None)


@pytest.mark.parametrize(
    ("status", "action", "words"),
    [
        (Status.RUNNING, Action.START, "Cannot start a VM that is running. It allows stop, restart"),
        (Status.ERROR, Action.START, "Cannot start a VM that is in error. It allows stop"),
        (Status.FAILED, Action.STOP, "Cannot stop a VM that has failed. It allows start"),
    ],
)
def test_it_says_in_words_what_the_status_does_not_allow(client_of, status, action, words):
    user = UserFactory()
    vm = own_vm(user, status=status)

    assert client_of(user).post(f"/resources/{vm.id}/{action}").json()["detail"].startswith(words)


@pytest.mark.parametrize(
    ("status", "action", "ends"),
    [
        (Status.QUEUED, Action.START, Status.RUNNING),
        (Status.STOPPED, Action.START, Status.RUNNING),
        (Status.FAILED, Action.START, Status.RUNNING),
        (Status.RUNNING, Action.STOP, Status.STOPPED),
        (Status.ERROR, Action.STOP, Status.STOPPED),
        (Status.RUNNING, Action.RESTART, Status.RUNNING),
        (Status.ERROR, Action.RESTART, Status.RUNNING),
    ],
)
def test_each_allowed_action_ends_as_it_should(client_of, status, action, ends):
    user = UserFactory()
    vm, client = own_vm(user, status=status), client_of(user)

    task_id = client.post(f"/resources/{vm.id}/{action}").json()["taskId"]
    drain(ignore_waits=True)

    task = client.get(f"/resources/tasks/{task_id}").json()
    assert (task["status"], task["progress"], task["error"]) == ("succeeded", 100, None)
    document = client.get(f"/resources/{vm.id}").json()
    assert document["status"] == ends
    assert "errorMessage" not in document
    vm.refresh_from_db()
    assert vm.task is None
    assert vm.desired_on == (ends == Status.RUNNING)


def test_the_first_deploy_wipes_the_password(client_of):
    user = UserFactory()
    vm = own_vm(user)
    VmSecret.objects.create(vm=vm, kind="hash", value="$6$x")

    client_of(user).post(f"/resources/{vm.id}/start")
    drain(ignore_waits=True)

    assert not VmSecret.objects.exists()


def test_a_dhcp_address_is_shown_once_it_is_seen(client_of):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)

    client.post(f"/resources/{vm.id}/start")
    before = client.get(f"/resources/{vm.id}").json()
    drain(ignore_waits=True)

    assert "runtime" not in before
    runtime = client.get(f"/resources/{vm.id}").json()["runtime"]
    assert runtime["endpoint"] == f"{runtime['ipAddress']}:22"


def test_force_needs_no_answer_of_the_guest(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.RUNNING)

    answer = client_of(user).post(f"/resources/{vm.id}/stop", {"force": True}, format="json")
    drain()

    assert answer.status_code == 202
    vm.refresh_from_db()
    assert vm.status == Status.STOPPED
    assert LogEntry.objects.filter(vm=vm, message__contains="by force").exists()


@pytest.mark.parametrize("body", [{"force": "yes"}, {"force": 1}, {"now": True}])
def test_it_refuses_a_bad_body(client_of, body):
    user = UserFactory()
    vm = own_vm(user, status=Status.RUNNING)

    answer = client_of(user).post(f"/resources/{vm.id}/stop", body, format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "validation")


@pytest.mark.parametrize("action", LIFECYCLE)
def test_a_second_action_finds_the_vm_locked(client_of, action):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)
    task_id = client.post(f"/resources/{vm.id}/start").json()["taskId"]

    answer = client.post(f"/resources/{vm.id}/{action}")

    assert (answer.status_code, answer.json()["code"]) == (409, "locked")
    assert answer.json()["taskId"] == task_id
    assert Task.objects.count() == 1


@pytest.mark.parametrize(
    ("action", "status"),
    [(Action.START, Status.QUEUED), (Action.STOP, Status.RUNNING), (Action.STOP, Status.ERROR),
     (Action.RESTART, Status.ERROR)],
)  # fmt: skip
def test_it_is_503_where_the_node_does_not_answer(client_of, action, status):
    user = UserFactory()
    vm = own_vm(user, status=status, node=NodeFactory(online=False))

    answer = client_of(user).post(f"/resources/{vm.id}/{action}")

    assert (answer.status_code, answer.json()["code"]) == (503, "node_unavailable")
    assert int(answer["Retry-After"]) > 0
    vm.refresh_from_db()
    assert (vm.status, vm.task) == (status, None)


def test_start_is_allowed_in_maintenance(client_of):
    user = UserFactory()
    vm = own_vm(user)
    vm.node.enabled = False
    vm.node.save()

    assert client_of(user).post(f"/resources/{vm.id}/start").status_code == 202


@pytest.mark.parametrize("action", LIFECYCLE)
def test_it_refuses_a_viewer(client_of, action):
    user = UserFactory(role=Role.VIEWER)

    assert client_of(user).post(f"/resources/{own_vm(user).id}/{action}").status_code == 403


@pytest.mark.parametrize("action", LIFECYCLE)
def test_it_hides_another_organizations_vm(client_of, action):
    assert client_of(UserFactory()).post(f"/resources/{VirtualMachineFactory().id}/{action}").status_code == 404


def test_it_writes_each_row_once(client_of, django_assert_num_queries):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)

    # Whether the caller may know of the VM, the VM, and whose its network is; its task, the VM, log and audit trail
    # between two of a savepoint. PostgreSQL notifies the workers besides.
    with django_assert_num_queries(3 + 4 + 2 + (connection.vendor == "postgresql")):
        assert client.post(f"/resources/{vm.id}/start").status_code == 202


def test_it_honours_if_match(client_of):
    user = UserFactory()

    assert client_of(user).post(f"/resources/{own_vm(user).id}/start", HTTP_IF_MATCH='"9"').status_code == 412


def test_a_cancelled_start_puts_the_vm_back(client_of):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)
    task_id = client.post(f"/resources/{vm.id}/start").json()["taskId"]

    answer = client.post(f"/resources/tasks/{task_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    vm.refresh_from_db()
    assert (vm.status, vm.deployed, vm.desired_on, vm.task) == (Status.QUEUED, False, False, None)


def test_a_cancelled_start_keeps_the_error_that_was_shown(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.FAILED, error_message="No space")
    client = client_of(user)
    task_id = client.post(f"/resources/{vm.id}/start").json()["taskId"]

    client.post(f"/resources/tasks/{task_id}/cancel")

    assert client.get(f"/resources/{vm.id}").json()["errorMessage"] == "No space"


def test_a_start_takes_no_body(client_of):
    user = UserFactory()

    answer = client_of(user).post(f"/resources/{own_vm(user).id}/start", {"now": True}, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_field")


def test_the_status_follows_the_story_of_a_vm(client_of):
    user = UserFactory()
    vm = own_vm(user, config={"networkConfig": static_network("192.168.100.10")})
    client = client_of(user)
    seen = []

    for action in ("start", "restart", "stop"):
        client.post(f"/resources/{vm.id}/{action}")
        seen.append(client.get(f"/resources/{vm.id}/status").json()["status"])
        drain(ignore_waits=True)
        seen.append(client.get(f"/resources/{vm.id}/status").json()["status"])

    assert seen == ["deploying", "running", "deploying", "running", "stopping", "stopped"]
    assert VirtualMachine.objects.get().stopped_at is not None
