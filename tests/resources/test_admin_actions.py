"""What operators do to VMs in the admin: asked once more on a GET, done on a POST."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEntry
from resources.models import VirtualMachine
from resources.states import Status
from tasks.models import Task
from tasks.worker import drain
from tests.factories import NodeFactory, OperatorFactory, SnapshotFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/resources/virtualmachine/"

VERBS = ["start", "stop", "force_stop", "restart", "delete", "forget"]
# A status in which the verb is possible, and the task that it makes.
CASES = [
    ("start", Status.STOPPED, "vm-start"),
    ("stop", Status.RUNNING, "vm-stop"),
    ("force_stop", Status.RUNNING, "vm-stop"),
    ("restart", Status.RUNNING, "vm-restart"),
    ("delete", Status.STOPPED, "vm-delete"),
]


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def row_of(vm):
    return VirtualMachine.objects.values().get(pk=vm.id)


def staff(*permissions):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def operator(client):
    user = OperatorFactory()
    client.force_login(user)
    return user


def choose(client, verb, vms, query=""):
    """Tick these VMs in the list and choose the verb."""
    return client.post(f"{LIST}{query}", {"action": verb, "_selected_action": [vm.id for vm in vms]})


def confirm(client, verb, vms):
    return client.post(f"{LIST}selected/{verb}/", {"_selected_action": [vm.id for vm in vms]}, follow=True)


# One VM


@pytest.mark.parametrize(("verb", "status", "task_type"), CASES)
def test_it_asks_on_a_get_and_changes_nothing(client, operator, verb, status, task_type):
    vm = VirtualMachineFactory(status=status, name="web")
    before = row_of(vm)

    answer = client.get(f"{LIST}{vm.id}/{verb}/")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "web" in page
    assert "csrfmiddlewaretoken" in page
    assert answer.context["possible"] == 1
    assert row_of(vm) == before
    assert not Task.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(("verb", "status", "task_type"), CASES)
def test_it_does_it_on_a_post(client, operator, verb, status, task_type):
    vm = VirtualMachineFactory(status=status, name="web")

    answer = client.post(f"{LIST}{vm.id}/{verb}/", follow=True)

    task = Task.objects.get()
    assert (task.type, task.subject_id, task.created_by) == (task_type, vm.id, operator.id)
    assert task.payload.get("force", False) == (verb == "force_stop")
    assert answer.redirect_chain[-1][0] == f"{LIST}{vm.id}/change/"
    assert len(said(answer)) == 1
    assert said(answer)[0].startswith("web: ")


def test_it_records_who_did_it_and_from_where(client, operator):
    vm = VirtualMachineFactory(status=Status.STOPPED)

    client.post(f"{LIST}{vm.id}/start/", REMOTE_ADDR="192.0.2.7", HTTP_X_REQUEST_ID="request-of-mine")

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_id, entry.via) == ("vm.start", operator.id, "admin")
    assert (entry.address, entry.request_id) == ("192.0.2.7", "request-of-mine")


def test_it_wants_a_csrf_token(operator):
    vm = VirtualMachineFactory(status=Status.STOPPED)
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)

    assert client.post(f"{LIST}{vm.id}/start/").status_code == 403
    assert client.post(f"{LIST}selected/start/", {"_selected_action": [vm.id]}).status_code == 403
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("verb", "words"), [("stop", "Cannot stop a VM that is queued"), ("forget", "not marked lost")]
)
def test_it_says_why_it_cannot(client, operator, verb, words):
    vm = VirtualMachineFactory()

    asked = client.get(f"{LIST}{vm.id}/{verb}/")
    done = client.post(f"{LIST}{vm.id}/{verb}/", follow=True)

    assert words in asked.content.decode()
    assert asked.context["possible"] == 0
    assert words in said(done)[0]
    assert done.status_code == 200


def test_it_says_that_the_node_is_away(client, operator):
    vm = VirtualMachineFactory(status=Status.STOPPED, node=NodeFactory(name="worker-09", online=False))

    answer = client.post(f"{LIST}{vm.id}/start/", follow=True)

    assert "worker-09 cannot be reached" in said(answer)[0]
    assert not Task.objects.exists()


def test_it_deletes_what_was_never_deployed_at_once(client, operator):
    vm = VirtualMachineFactory(name="web")

    answer = client.post(f"{LIST}{vm.id}/delete/", follow=True)

    vm.refresh_from_db()
    assert vm.deleted_at is not None
    assert said(answer) == ["web: deleted"]
    assert not Task.objects.exists()


def test_it_keeps_the_row_of_a_vm_that_it_deletes(client, operator):
    vm = VirtualMachineFactory(status=Status.STOPPED)
    SnapshotFactory(vm=vm)

    client.post(f"{LIST}{vm.id}/delete/", {"post": "yes"})
    drain(ignore_waits=True)

    vm.refresh_from_db()
    assert vm.deleted_at is not None
    assert not vm.deployed


def test_it_forgets_a_vm_of_a_lost_node(client, operator):
    vm = VirtualMachineFactory(status=Status.ERROR, name="web")
    vm.node.lost = True
    vm.node.save(update_fields=["lost"])

    assert client.get(f"{LIST}{vm.id}/forget/").context["possible"] == 1
    answer = client.post(f"{LIST}{vm.id}/forget/", follow=True)

    vm.refresh_from_db()
    assert said(answer) == ["web: forgotten"]
    assert vm.deleted_at is not None
    assert not vm.deployed


def test_it_forgets_one_that_is_being_deleted_on_a_lost_node(client, operator, client_of):
    vm = VirtualMachineFactory(status=Status.STOPPED, name="web")
    client_of(vm.owner).delete(f"/resources/{vm.id}")
    vm.node.lost = True
    vm.node.save(update_fields=["lost"])

    assert client.get(f"{LIST}{vm.id}/forget/").context["possible"] == 1
    assert said(client.post(f"{LIST}{vm.id}/forget/", follow=True)) == ["web: forgotten"]
    assert not Task.objects.get().is_open


def test_it_has_buttons_for_what_the_vm_allows(client, operator):
    vm = VirtualMachineFactory(status=Status.RUNNING)

    page = client.get(f"{LIST}{vm.id}/change/").content.decode()

    shown = {verb for verb in VERBS if f'href="{LIST}{vm.id}/{verb}/"' in page}
    assert shown == {"stop", "force_stop", "restart"}


# Many VMs


def test_it_asks_before_it_does_it_to_those_ticked(client, operator):
    ready = VirtualMachineFactory(status=Status.STOPPED, name="ready")
    running = VirtualMachineFactory(status=Status.RUNNING, name="runs")

    answer = choose(client, "start", [ready, running])

    page = answer.content.decode()
    assert answer.status_code == 200
    assert answer.context["possible"] == 1
    assert "It is powered on" in page
    assert "Cannot start a VM that is running" in page
    assert f'action="{LIST}selected/start/' in page
    assert not Task.objects.exists()


def test_it_tells_of_each_vm_how_it_went(client, operator):
    ready = VirtualMachineFactory(status=Status.STOPPED, name="ready")
    running = VirtualMachineFactory(status=Status.RUNNING, name="runs")
    away = VirtualMachineFactory(status=Status.STOPPED, name="away", node=NodeFactory(online=False))

    answer = confirm(client, "start", [running, ready, away])

    first, second, third = said(answer)
    assert first.startswith("runs: Cannot start a VM that is running")
    assert second.startswith("ready: start requested (task-")
    assert third.startswith("away: ")
    assert "cannot be reached" in third
    assert [task.subject_id for task in Task.objects.all()] == [ready.id]


def test_it_does_it_to_a_vm_that_no_longer_matches_the_list(client, operator):
    vm = VirtualMachineFactory(status=Status.RUNNING, name="web")
    page = choose(client, "stop", [vm], "?status__exact=running")
    VirtualMachine.objects.filter(pk=vm.id).update(status=Status.ERROR)

    answer = client.post(page.context["post_to"], {"_selected_action": [vm.id]}, follow=True)

    assert said(answer)[0].startswith("web: stop requested")
    assert answer.redirect_chain[-1][0] == f"{LIST}?status__exact=running"


def test_it_tells_of_ids_that_are_none(client, operator):
    answer = client.post(f"{LIST}selected/start/", {"_selected_action": ["0" * 24, "nonsense", "<b>"]}, follow=True)

    assert [text.split(": ")[1] for text in said(answer)] == ["There is no such VM"] * 3


def test_it_refuses_too_many_at_once(client, operator, monkeypatch):
    monkeypatch.setattr("resources.admin.LARGEST_BATCH", 1)
    vms = VirtualMachineFactory.create_batch(2)

    choose(client, "start", vms)
    answer = confirm(client, "start", vms)

    assert said(answer)[-1] == "Choose 1 VMs at most at a time."
    assert not Task.objects.exists()


def test_it_changes_nothing_on_a_get_of_the_second_step(client, operator):
    vm = VirtualMachineFactory()

    answer = client.get(f"{LIST}selected/start/?_selected_action={vm.id}&_changelist_filters=status%3Dqueued")

    assert answer.status_code == 302
    assert answer["Location"] == f"{LIST}?status=queued"
    assert not Task.objects.exists()


def test_it_knows_no_other_verb(client, operator):
    assert client.post(f"{LIST}selected/explode/").status_code == 404


# Who may


@pytest.mark.parametrize("verb", VERBS)
def test_it_refuses_staff_without_the_permission(client, verb):
    client.force_login(staff("view_virtualmachine"))
    vm = VirtualMachineFactory(status=Status.STOPPED)
    before = row_of(vm)

    assert client.get(f"{LIST}{vm.id}/{verb}/").status_code == 403
    assert client.post(f"{LIST}{vm.id}/{verb}/").status_code == 403
    assert client.post(f"{LIST}selected/{verb}/", {"_selected_action": [vm.id]}).status_code == 403
    choose(client, verb, [vm])
    assert row_of(vm) == before


def test_it_lets_staff_with_permission_to_change_start_but_not_delete(client):
    client.force_login(staff("change_virtualmachine"))
    vm = VirtualMachineFactory(status=Status.STOPPED)

    page = client.get(f"{LIST}{vm.id}/change/").content.decode()

    assert f"{LIST}{vm.id}/start/" in page
    assert f"{LIST}{vm.id}/delete/" not in page
    assert client.post(f"{LIST}{vm.id}/delete/").status_code == 403
    assert client.post(f"{LIST}{vm.id}/start/").status_code == 302
    assert Task.objects.get().type == "vm-start"


def test_it_lets_staff_with_permission_to_delete_delete(client):
    client.force_login(staff("view_virtualmachine", "delete_virtualmachine"))
    vm = VirtualMachineFactory()

    assert client.post(f"{LIST}{vm.id}/start/").status_code == 403
    client.post(f"{LIST}{vm.id}/delete/")

    vm.refresh_from_db()
    assert vm.deleted_at is not None
