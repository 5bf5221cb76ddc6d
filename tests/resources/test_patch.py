"""PATCH /resources/:id"""

import re

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Role
from nodes.models import Claim, Gpu
from resources import actions, secrets
from resources.models import LogEntry, SecretKind, VirtualMachine, VmSecret
from resources.states import Status
from tasks.models import Task
from tests.factories import (
    GpuFactory,
    NodeFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
    static_network,
    vm_config,
)

pytestmark = pytest.mark.django_db


def own_vm(user, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, **fields)


def stopped_at_10(user, **fields):
    """One on a node, at 192.168.100.10."""
    config = {"networkConfig": static_network("192.168.100.10")}
    return own_vm(user, status=Status.STOPPED, deployed=True, config=config, **fields)


def patch(client, vm, body, **headers):
    return client.patch(f"/resources/{vm.id}", body, format="json", **headers)


@pytest.mark.parametrize("status", list(Status))
def test_it_changes_name_and_description_at_any_time(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = patch(client_of(user), vm, {"name": "New name", "description": "New"})

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["description"], answer["ETag"]) == ("New name", "New", '"2"')


def test_it_removes_the_description_with_null(client_of):
    user = UserFactory()

    answer = patch(client_of(user), own_vm(user, description="old"), {"description": None})

    assert "description" not in answer.json()


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STOPPED, Status.FAILED])
def test_it_changes_the_config_and_what_is_held(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = patch(client_of(user), vm, {"config": {"vcpus": 4, "ramMB": 4096, "diskGB": 30}})

    assert answer.status_code == 200, answer.content
    vm.refresh_from_db()
    vm.node.refresh_from_db()
    vm.organization.refresh_from_db()
    assert (vm.vcpus, vm.ram_mb, vm.disk_gb) == (4, 4096, 30)
    assert (vm.node.used_vcpus, vm.node.used_ram_mb, vm.node.used_disk_gb) == (4, 4096, 30)
    assert (vm.organization.used_vms, vm.organization.used_vcpus) == (1, 4)
    assert AuditEntry.objects.get(action="vm.update").before["config"]["vcpus"] == 2


@pytest.mark.parametrize("status", [Status.RUNNING, Status.ERROR, Status.DEPLOYING, Status.STOPPING])
def test_it_refuses_a_config_in_a_status_that_does_not_allow_it(client_of, status):
    user = UserFactory()
    vm = own_vm(user, status=status)

    answer = patch(client_of(user), vm, {"config": {"vcpus": 4}})

    assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")
    assert answer.json()["currentStatus"] == status
    vm.node.refresh_from_db()
    assert vm.node.used_vcpus == 2


def test_it_refuses_a_config_while_a_task_runs(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.STOPPED)
    task = Task.objects.create(type="vm-start", subject_id=vm.id)
    VirtualMachine.objects.filter(pk=vm.id).update(task=task)

    answer = patch(client_of(user), vm, {"config": {"vcpus": 4}})

    assert (answer.status_code, answer.json()["code"]) == (409, "locked")
    assert answer.json()["taskId"] == f"task-{task.id}"


@pytest.mark.parametrize("config", [{"osImage": "debian-12"}, {"cloudInit": {"hostname": "other"}}])
def test_it_keeps_what_acts_once_after_the_first_deploy(client_of, config):
    user = UserFactory()

    answer = patch(client_of(user), own_vm(user, status=Status.STOPPED), {"config": config})

    assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")


def test_it_does_not_shrink_a_disk_that_exists(client_of):
    user = UserFactory()

    answer = patch(client_of(user), own_vm(user, status=Status.STOPPED), {"config": {"diskGB": 10}})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "config.diskGB"


def test_it_shrinks_a_disk_that_does_not_exist_yet(client_of):
    user = UserFactory()

    assert patch(client_of(user), own_vm(user), {"config": {"diskGB": 10}}).status_code == 200


def test_it_moves_a_queued_vm_to_another_node(client_of):
    user = UserFactory()
    vm, node = own_vm(user), NodeFactory()

    answer = patch(client_of(user), vm, {"nodeId": node.id})

    assert answer.status_code == 200
    vm.node.refresh_from_db()
    node.refresh_from_db()
    assert (vm.node.used_vcpus, node.used_vcpus) == (0, 2)


def test_it_swaps_gpus_and_keeps_the_one_that_stays(client_of):
    user, node = UserFactory(), NodeFactory()
    cards = [GpuFactory(node=node, device_id=f"GPU-{number}") for number in range(3)]
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0", "GPU-1"]}
    vm = own_vm(user, node=node, config={"gpuConfig": gpu})

    answer = patch(client_of(user), vm, {"config": {"gpuConfig": {"deviceIds": ["GPU-1", "GPU-2"]}}})

    assert answer.status_code == 200
    held = {key.split(":")[1] for key in Claim.objects.filter(vm_id=vm.id).values_list("key", flat=True)}
    assert held == {cards[1].id, cards[2].id}


def test_it_keeps_a_gpu_that_its_node_reports_no_more(client_of):
    user = UserFactory()
    gpu = GpuFactory(device_id="GPU-0")
    config = {"gpuConfig": {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0"]}}
    vm = own_vm(user, node=gpu.node, config=config)
    Gpu.objects.update(present=False)
    client = client_of(user)

    assert patch(client, vm, {"config": {"vcpus": 4}}).status_code == 200
    moved = patch(client, vm, {"nodeId": NodeFactory().id})
    assert [fault["field"] for fault in moved.json()["errors"]] == ["config.gpuConfig.deviceIds"]


def test_it_leaves_all_as_it_was_where_the_new_gpu_is_taken(client_of):
    user, node = UserFactory(), NodeFactory()
    for number in range(2):
        GpuFactory(node=node, device_id=f"GPU-{number}")
    vm = own_vm(user, node=node, config={"gpuConfig": _gpu("GPU-0")})
    VirtualMachineFactory(node=node, config={"gpuConfig": _gpu("GPU-1")})
    before = set(Claim.objects.values_list("key", "vm_id"))

    answer = patch(client_of(user), vm, {"config": {"gpuConfig": {"deviceIds": ["GPU-1"]}, "vcpus": 8}})

    assert answer.status_code == 409
    assert set(Claim.objects.values_list("key", "vm_id")) == before
    node.refresh_from_db()
    assert node.used_vcpus == 4


def _gpu(*device_ids):
    return {"enabled": True, "mode": "passthrough", "deviceIds": list(device_ids)}


def test_it_changes_the_address_and_gives_the_old_one_back(client_of):
    user = UserFactory()
    vm = own_vm(user, config={"networkConfig": static_network("192.168.100.10")})

    answer = patch(client_of(user), vm, {"config": {"networkConfig": {"ipAddress": "192.168.100.11"}}})

    assert answer.status_code == 200
    assert list(Claim.objects.values_list("key", flat=True)) == ["ip:default:100:192.168.100.11"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"ipAddress": "192.168.100.11"}, "192.168.100.11"),
        ({"gateway": "192.168.100.2"}, "255.255.255.0 and 192.168.100.2"),
        ({"ipMode": "dhcp"}, "an address by DHCP"),
    ],
)
def test_a_guest_that_has_its_address_already_is_told_to_need_it_set_inside(client_of, change, wanted):
    """cloud-init set the first one, and the node lets through no other than the VM's."""
    user = UserFactory()
    vm = stopped_at_10(user, started_at=timezone.now())

    patch(client_of(user), vm, {"config": {"networkConfig": change}})

    entry = LogEntry.objects.get(vm=vm, level="warning")
    assert re.search(f"Set (it|them) to {wanted} in the guest as well", entry.message)


@pytest.mark.parametrize(
    ("change", "started_at"),
    [
        ({"networkConfig": {"ipAddress": "192.168.100.11"}}, None),
        ({"networkConfig": {"vlanId": 200}, "vcpus": 4}, timezone.now()),
    ],
)
def test_no_guest_is_told_so_without_need(client_of, change, started_at):
    user = UserFactory()
    vm = stopped_at_10(user, started_at=started_at)

    assert patch(client_of(user), vm, {"config": change}).status_code == 200

    assert not LogEntry.objects.filter(vm=vm, level="warning").exists()


def test_a_patch_to_dhcp_drops_the_addresses(client_of):
    user = UserFactory()
    vm = own_vm(user, config={"networkConfig": static_network("192.168.100.10")})

    answer = patch(client_of(user), vm, {"config": {"networkConfig": {"ipMode": "dhcp"}}})

    assert answer.json()["config"]["networkConfig"] == {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 100}
    assert not Claim.objects.exists()


def test_it_takes_a_new_password_before_the_first_deploy(client_of):
    user = UserFactory()
    vm = own_vm(user, config={"cloudInit": {"username": "ubuntu"}})

    answer = patch(client_of(user), vm, {"config": {"cloudInit": {"password": "another one"}}})

    assert answer.status_code == 200
    assert "another" not in answer.content.decode()
    assert VmSecret.objects.get(vm=vm).value.startswith("$6$")


def test_it_honours_if_match(client_of):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)

    assert patch(client, vm, {"name": "first"}, HTTP_IF_MATCH='"1"').status_code == 200
    late = patch(client, vm, {"name": "second"}, HTTP_IF_MATCH='"1"')

    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    vm.refresh_from_db()
    assert vm.name == "first"
    assert patch(client, vm, {"name": "third"}, HTTP_IF_MATCH='"1", "2"').status_code == 200
    assert patch(client, vm, {"name": "fourth"}, HTTP_IF_MATCH='W/"3"').status_code == 412


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"status": "running"}, "status"),
        ({"config": {"vcpus": "8"}}, "config.vcpus"),
        ({"config": {"vcpus": True}}, "config.vcpus"),
        ({"config": {"vcpus": 8.5}}, "config.vcpus"),
        ({"config": {"networkConfig": None}}, "config.networkConfig"),
        ({"nodeId": "nope"}, "nodeId"),
    ],
)
def test_it_refuses_bad_input(client_of, body, field):
    user = UserFactory()
    vm = own_vm(user)

    answer = patch(client_of(user), vm, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation")
    assert answer.json()["errors"][0]["field"] == field
    vm.refresh_from_db()
    assert vm.version == 1


def test_it_refuses_a_viewer(client_of):
    user = UserFactory(role=Role.VIEWER)

    assert patch(client_of(user), own_vm(user), {"name": "x"}).status_code == 403


def test_it_hides_another_organizations_vm(client_of):
    assert patch(client_of(UserFactory()), VirtualMachineFactory(), {"name": "x"}).status_code == 404


@pytest.mark.parametrize("cloud_init", [None, {"password": None}])
def test_null_takes_the_password_away(client_of, cloud_init):
    user = UserFactory()
    vm = own_vm(user, config={"cloudInit": {"username": "ubuntu"}})
    VmSecret.objects.create(vm=vm, kind="hash", value="$6$x")

    answer = patch(client_of(user), vm, {"config": {"cloudInit": cloud_init}})

    assert (answer.status_code, answer["ETag"]) == (200, '"2"')
    assert not VmSecret.objects.exists()


def test_an_address_that_was_seen_stays_known(client_of):
    user = UserFactory()
    vm = own_vm(user, status=Status.STOPPED, ip_address="10.0.0.9")

    answer = patch(client_of(user), vm, {"config": {"vcpus": 4}})

    assert answer.json()["runtime"]["ipAddress"] == "10.0.0.9"


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [("ubuntu-22.04", "windows-server-2022"), ("windows-server-2022", "ubuntu-22.04")],
)
def test_it_keeps_no_password_as_another_system_takes_it(client_of, monkeypatch, before, meanwhile):
    user = UserFactory()
    node = NodeFactory(images=(before, meanwhile))
    body = {**create_body(node), "config": vm_config(osImage=before)}
    vm_id = client_of(user).post("/resources", body, format="json").json()["_id"]
    protect = secrets.protect

    def slowly(config):
        patch = {"config": {"osImage": meanwhile}}
        if VirtualMachine.objects.get(pk=vm_id).os_image == before:
            assert client_of(user).patch(f"/resources/{vm_id}", patch, format="json").status_code == 200
        return protect(config)

    monkeypatch.setattr(secrets, "protect", slowly)
    patch = {"config": {"cloudInit": {"password": "hunter2hunter2"}}}
    answer = client_of(user).patch(f"/resources/{vm_id}", patch, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert not VmSecret.objects.exists()
    assert client_of(user).patch(f"/resources/{vm_id}", patch, format="json").status_code == 200
    sealed = meanwhile.startswith("windows")
    assert VmSecret.objects.get().kind == (SecretKind.SEALED if sealed else SecretKind.HASH)


def test_it_answers_with_what_it_made_whoever_comes_next(client_of, monkeypatch):
    user = UserFactory()
    vm = own_vm(user)
    update = actions.update

    def and_gone(actor, vm_id, *given):
        row = update(actor, vm_id, *given)
        actions.delete(actor, vm_id)
        return row

    monkeypatch.setattr(actions, "update", and_gone)
    answer = client_of(user).patch(f"/resources/{vm.id}", {"name": "new"}, format="json")
    assert (answer.status_code, answer.json()["name"]) == (200, "new")
