"""DELETE /resources/:id"""

import pytest

from accounts.models import Role
from nodes.models import Claim
from resources.models import VirtualMachine
from resources.states import ALLOWED, Action, Status
from tasks.models import Task
from tasks.worker import drain
from tests.factories import UserFactory, VirtualMachineFactory, static_network

pytestmark = pytest.mark.django_db


def own_vm(user, **fields):
    config = {"networkConfig": static_network("192.168.100.10")}
    return VirtualMachineFactory(organization=user.organization, owner=user, config=config, **fields)


def assert_all_is_free(vm):
    vm.node.refresh_from_db()
    vm.organization.refresh_from_db()
    assert (vm.node.used_vcpus, vm.organization.used_vms) == (0, 0)
    assert not Claim.objects.exists()


@pytest.mark.parametrize("status", [Status.QUEUED, Status.FAILED])
def test_it_frees_all_at_once_where_nothing_is_on_the_node(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = client_of(user).delete(f"/resources/{vm.id}")

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "message": "VM deleted successfully"}
    assert_all_is_free(vm)


@pytest.mark.parametrize("status", [Status.STOPPED, Status.ERROR])
def test_it_keeps_all_until_the_node_has_let_go(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)
    client = client_of(user)

    answer = client.delete(f"/resources/{vm.id}")

    assert answer.status_code == 202
    task_id = answer.json()["taskId"]
    assert client.get(f"/resources/{vm.id}").status_code == 404
    vm.node.refresh_from_db()
    assert vm.node.used_vcpus == 2
    assert Claim.objects.exists()
    drain()
    assert_all_is_free(vm)
    assert client.get(f"/resources/tasks/{task_id}").json()["status"] == "succeeded"
    vm.refresh_from_db()
    assert vm.deleted_at is not None
    assert (vm.deployed, vm.task) == (False, None)


def test_it_waits_for_a_node_that_is_down(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.STOPPED)
    vm.node.online = False
    vm.node.save()

    answer = client_of(user).delete(f"/resources/{vm.id}")
    drain()

    assert answer.status_code == 202
    assert Task.objects.get().status == "pending"
    assert Claim.objects.exists()


@pytest.mark.parametrize("status", [status for status in Status if Action.DELETE not in ALLOWED[status]])
def test_it_refuses_in_a_status_that_does_not_allow_it(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = client_of(user).delete(f"/resources/{vm.id}")

    assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")
    assert answer.json()["allowedActions"] == [str(action) for action in ALLOWED[status]]
    vm.refresh_from_db()
    assert vm.deleted_at is None


def test_it_is_not_found_a_second_time(client_of):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)

    assert [client.delete(f"/resources/{vm.id}").status_code for _ in range(2)] == [200, 404]


def test_it_takes_no_body(client_of):
    user = UserFactory()
    vm = own_vm(user)

    answer = client_of(user).delete(f"/resources/{vm.id}", {"keepDisk": True}, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "keepDisk")
    vm.refresh_from_db()
    assert vm.deleted_at is None


def test_it_honours_if_match(client_of):
    user = UserFactory()
    vm = own_vm(user)

    assert client_of(user).delete(f"/resources/{vm.id}", HTTP_IF_MATCH='"7"').status_code == 412


def test_it_refuses_a_viewer(client_of):
    user = UserFactory(role=Role.VIEWER)

    assert client_of(user).delete(f"/resources/{own_vm(user).id}").status_code == 403


def test_it_hides_another_organizations_vm(client_of):
    assert client_of(UserFactory()).delete(f"/resources/{VirtualMachineFactory().id}").status_code == 404


def test_rows_are_never_deleted_by_a_query():
    VirtualMachineFactory()

    with pytest.raises(TypeError):
        VirtualMachine.objects.all().delete()
