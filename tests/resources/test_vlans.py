"""A VM whose VLAN was given to another organization after it was made"""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from nodes.models import Network
from resources.reconcile import sweep_all
from resources.states import Status
from tasks.worker import drain
from tests.backends import scripted
from tests.factories import NetworkFactory, OperatorFactory, OrganizationFactory, UserFactory, VirtualMachineFactory
from vmbackends.base import DomainState, Power

pytestmark = pytest.mark.django_db

VLAN = {"networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 300}}
UNTAGGED = {"networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": None}}


@pytest.fixture
def backend():
    with scripted() as backend:
        yield backend


@pytest.fixture
def user():
    return UserFactory()


def vm_in(user, status, config=VLAN):
    return VirtualMachineFactory(organization=user.organization, owner=user, status=status, config=config)


def take_away(user, vlan_id=300):
    return NetworkFactory(vlan_id=vlan_id, organizations=[OrganizationFactory()])


@pytest.mark.parametrize(
    ("status", "action"),
    [(Status.QUEUED, "start"), (Status.STOPPED, "start"), (Status.FAILED, "start"), (Status.RUNNING, "restart"),
     (Status.ERROR, "restart")],
)  # fmt: skip
def test_it_is_not_started_on_it(client_of, user, status, action):
    vm = vm_in(user, status)
    take_away(user)

    answer = client_of(user).post(f"/resources/{vm.id}/{action}")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["detail"] == (
        "VLAN 300 is not open to this VM's organization any more. Stop the VM and change its network, or ask an "
        "operator to open it."
    )
    vm.refresh_from_db()
    assert (vm.status, vm.task) == (status, None)
    assert AuditEntry.objects.get().code == "conflict"


def test_not_for_an_operator_either(client_of, user):
    vm = vm_in(user, Status.STOPPED)
    take_away(user)
    assert client_of(OperatorFactory()).post(f"/resources/{vm.id}/start").status_code == 409


@pytest.mark.parametrize(("is_open", "status"), [(True, 202), (False, 409)])
def test_one_that_no_row_names_any_more_is_as_the_setting_says(client_of, user, settings, is_open, status):
    settings.OPEN_VLANS = is_open
    assert client_of(user).post(f"/resources/{vm_in(user, Status.STOPPED).id}/start").status_code == status


def test_what_is_its_own_or_open_to_all_is_no_hindrance(client_of, user, settings):
    settings.OPEN_VLANS = False
    for organizations in ([], [OrganizationFactory(), user.organization]):
        network = NetworkFactory(vlan_id=300, organizations=organizations)
        assert client_of(user).post(f"/resources/{vm_in(user, Status.STOPPED).id}/start").status_code == 202
        Network.objects.filter(pk=network.pk).delete()


def test_the_untagged_network_can_be_taken_away_too(client_of, user):
    vm = vm_in(user, Status.STOPPED, config={})
    take_away(user, vlan_id=0)

    answer = client_of(user).post(f"/resources/{vm.id}/start")

    assert (answer.status_code, answer.json()["detail"][:20]) == (409, "The untagged network")


def test_one_that_runs_can_be_stopped_and_its_network_changed(client_of, user):
    vm, client = vm_in(user, Status.RUNNING), client_of(user)
    take_away(user)

    assert client.post(f"/resources/{vm.id}/stop").status_code == 202
    drain(ignore_waits=True)
    assert client.patch(f"/resources/{vm.id}", {"config": UNTAGGED}, format="json").status_code == 200
    assert client.post(f"/resources/{vm.id}/start").status_code == 202


def test_an_edit_of_something_else_is_made(client_of, user):
    vm = vm_in(user, Status.STOPPED)
    take_away(user)

    answer = client_of(user).patch(f"/resources/{vm.id}", {"config": {"vcpus": 4}}, format="json")

    assert (answer.status_code, answer.json()["config"]["vcpus"]) == (200, 4)


def test_an_edit_of_the_network_or_node_is_checked(client_of, user):
    vm, client = vm_in(user, Status.QUEUED), client_of(user)
    take_away(user)
    other = VirtualMachineFactory().node

    for patch in ({"config": {"networkConfig": {"ipMode": "static"}}}, {"nodeId": other.id}):
        answer = client.patch(f"/resources/{vm.id}", patch, format="json")
        assert answer.status_code == 400


def test_a_start_that_has_waited_is_not_put_on_it(client_of, user, backend):
    vm = vm_in(user, Status.QUEUED)
    assert client_of(user).post(f"/resources/{vm.id}/start").status_code == 202
    take_away(user)

    drain(ignore_waits=True)

    vm.refresh_from_db()
    assert (vm.status, vm.error_message[:8]) == (Status.FAILED, "VLAN 300")
    assert "start" not in backend.calls


def test_after_a_reboot_of_its_node_it_is_in_error(user, backend):
    vm = vm_in(user, Status.RUNNING)
    sweep_all()
    take_away(user)
    sweep_all()
    vm.refresh_from_db()
    assert vm.status == Status.RUNNING  # as long as it runs
    backend.boot_id = "after-the-reboot"
    backend.states = {vm.id: DomainState(Power.OFF)}

    for _ in range(2):
        sweep_all()
        vm.refresh_from_db()
        assert (vm.status, vm.task, vm.error_message[:8]) == (Status.ERROR, None, "VLAN 300")


def test_the_admin_says_so_before_it_is_tried(user):
    vm = vm_in(user, Status.STOPPED)
    take_away(user)
    client = Client()
    client.force_login(OperatorFactory())

    page = client.get(reverse("admin:resources_virtualmachine_vm_start", args=[vm.id]))

    assert "VLAN 300 is not open" in page.content.decode()
