"""The admin's pages of VMs: who sees them, and what they show."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from nodes.models import GpuUse
from resources import logs, secrets
from resources.models import ConsoleToken, LogEntry, MetricsHour, VirtualMachine, VmSecret
from resources.states import LOOKS, Status
from snapshots.models import Snapshot
from tasks.models import Task
from tests.factories import GpuFactory, OperatorFactory, SnapshotFactory, UserFactory, VirtualMachineFactory, vm_config

pytestmark = pytest.mark.django_db

LIST = "/admin/resources/virtualmachine/"
SCRIPT = "<script>alert(1)</script>"


def page_of(vm):
    return f"{LIST}{vm.id}/change/"


def staff(*permissions):
    """Somebody who may enter the admin, with these permissions alone."""
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def operator(client):
    user = OperatorFactory()
    client.force_login(user)
    return user


def rows_of_each_model():
    vm = VirtualMachineFactory(status=Status.STOPPED)
    logs.record(vm.id, "info", "VM created")
    now = timezone.now()
    return [
        vm,
        LogEntry.objects.get(),
        MetricsHour.objects.create(vm=vm, hour=now, points=[[0, 1, 2, 3, None, 5, 6]], latest={"cpu": {"usage": 1}}),
        ConsoleToken.objects.create(digest="d" * 64, vm=vm, user_id=vm.owner_id, expires_at=now),
        SnapshotFactory(vm=vm),
    ]


def test_it_shows_a_list_of_each_model(client, operator):
    for row in rows_of_each_model():
        answer = client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist"))

        assert answer.status_code == 200, row._meta.model_name


def test_it_shows_each_row_but_a_console_token(client, operator):
    for row in rows_of_each_model():
        answer = client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=(row.pk,)))

        assert answer.status_code == (404 if isinstance(row, ConsoleToken) else 200), row._meta.model_name


def test_it_has_no_form_to_add_change_or_remove_rows(client, operator):
    for row in rows_of_each_model():
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        assert client.get(reverse(f"{name}_add")).status_code == 403
        assert client.post(reverse(f"{name}_change", args=(row.pk,)), {"name": "x"}).status_code in (403, 404)
        if not isinstance(row, VirtualMachine):
            assert client.post(reverse(f"{name}_delete", args=(row.pk,)), {"post": "yes"}).status_code == 403
        assert type(row).objects.filter(pk=row.pk).exists()


def test_it_has_no_action_that_removes_rows(client, operator):
    vm = VirtualMachineFactory()

    client.post(LIST, {"action": "delete_selected", "_selected_action": [vm.id], "post": "yes"})

    assert VirtualMachine.objects.filter(pk=vm.id, deleted_at=None).exists()


def test_it_refuses_a_member(client):
    client.force_login(UserFactory())
    vm = VirtualMachineFactory()

    for url in (LIST, page_of(vm), f"{LIST}{vm.id}/start/", f"{LIST}selected/start/"):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
    assert client.post(f"{LIST}{vm.id}/start/").status_code == 302
    assert not Task.objects.exists()


def test_it_refuses_staff_without_permission(client):
    client.force_login(staff())
    vm = VirtualMachineFactory()

    assert client.get(LIST).status_code == 403
    assert client.get(page_of(vm)).status_code == 403


def test_it_shows_staff_with_permission_to_view_no_verb(client):
    client.force_login(staff("view_virtualmachine"))
    vm = VirtualMachineFactory(name="web")

    listed = client.get(LIST)
    page = client.get(page_of(vm))

    assert b"web" in listed.content
    assert b'name="action"' not in listed.content
    assert f"{LIST}{vm.id}/start/".encode() not in page.content


def test_it_shows_panels_to_who_may_view_their_rows(client):
    client.force_login(staff("view_virtualmachine"))
    vm = VirtualMachineFactory(status=Status.STOPPED)
    SnapshotFactory(vm=vm, name="before upgrade")
    logs.record(vm.id, "info", "VM stopped")

    page = client.get(page_of(vm)).content.decode()

    assert "before upgrade" not in page
    assert "VM stopped" not in page


def test_it_lists_what_an_inventory_needs(client, operator):
    gpu = GpuFactory(device_id="GPU-0", use=GpuUse.PASSTHROUGH)
    config = {"gpuConfig": {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0"]}}
    task = Task.objects.create(type="vm-start", subject_id="a" * 24, progress=40)
    vm = VirtualMachineFactory(
        name="train", node=gpu.node, config=config, status=Status.DEPLOYING, ip_address="10.0.0.9", task=task
    )

    listed = client.get(LIST).content.decode()

    for text in ("train", "deploying", vm.organization.name, gpu.node.name, "ubuntu-22.04", "2 vCPU, 2 GB, 20 GB",
                 "GPU-0", "10.0.0.9", "vm-start 40 %"):  # fmt: skip
        assert text in listed


def test_rows_of_a_vm_name_it_with_a_link(client, operator):
    for row in rows_of_each_model()[1:]:
        listed = client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")).content.decode()

        assert f'href="{page_of(row.vm)}"' in listed
        assert re.search(r">\s*VM\s*<", listed)
        assert not re.search(r">\s*Vm\s*<", listed)


def test_it_has_a_badge_for_each_status(client, operator):
    for status in Status:
        VirtualMachineFactory(status=status)

    answer = client.get(LIST)

    assert answer.status_code == 200
    assert len(LOOKS) == answer.context["cl"].result_count


def test_it_asks_as_many_queries_for_many_vms_as_for_one(client, operator, django_assert_num_queries):
    vm = VirtualMachineFactory()
    client.get(LIST)
    with CaptureQueriesContext(connection) as one:
        client.get(LIST)
    VirtualMachineFactory.create_batch(8, organization=vm.organization, node=vm.node, owner=vm.owner)

    with django_assert_num_queries(len(one)):
        client.get(LIST)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"alive", "gpu"}),
        ("?status__exact=stopped", {"alive"}),
        ("?gpu=yes", {"gpu"}),
        ("?gpu=no", {"alive"}),
        ("?deleted=cleaning", {"cleaning"}),
        ("?deleted=gone", {"gone"}),
        ("?deleted=all", {"alive", "gpu", "cleaning", "gone"}),
        ("?os_image=debian-12", {"gpu"}),
        ("?q=aliv", {"alive"}),
        ("?q=10.1.2.3", {"gpu"}),
        ("?q=nothing", set()),
    ],
)
def test_it_filters_and_searches(client, operator, query, names):
    now = timezone.now()
    VirtualMachineFactory(name="alive", status=Status.STOPPED)
    VirtualMachineFactory(name="gpu", mig_count=1, ip_address="10.1.2.3", os_image="debian-12")
    VirtualMachine.objects.filter(name="gpu").update(mig_count=1)
    VirtualMachineFactory(name="cleaning", status=Status.STOPPED, deleted_at=now)
    VirtualMachineFactory(name="gone", deleted_at=now)

    answer = client.get(LIST + query)

    assert {vm.name for vm in answer.context["cl"].result_list} == names


def test_it_finds_a_vm_by_its_id_and_by_its_domains_name(client, operator):
    vm, _ = VirtualMachineFactory.create_batch(2)

    for words in (vm.id, f"vm-{vm.id}"):
        assert [row.id for row in client.get(LIST, {"q": words}).context["cl"].result_list] == [vm.id]


def test_it_filters_by_node_and_organization(client, operator):
    vm, _ = VirtualMachineFactory.create_batch(2)

    for query in ({"node__id__exact": vm.node_id}, {"organization__id__exact": vm.organization_id}):
        assert [row.id for row in client.get(LIST, query).context["cl"].result_list] == [vm.id]


def test_it_shows_a_vm_with_its_tasks_log_and_snapshots(client, operator):
    vm = VirtualMachineFactory(status=Status.STOPPED)
    task = Task.objects.create(type="vm-stop", subject_id=vm.id, error="the node is down")
    logs.record(vm.id, "warning", "its power is cut")
    SnapshotFactory(vm=vm, name="before upgrade")
    SnapshotFactory(name="of another")

    page = client.get(page_of(vm)).content.decode()

    for text in (task.public_id, "the node is down", "its power is cut", "before upgrade", f"vm-{vm.id}"):
        assert text in page
    assert "of another" not in page


def test_it_shows_the_config_as_indented_json(client, operator):
    vm = VirtualMachineFactory()

    assert "{\n  &quot;type&quot;: &quot;virtual-machine&quot;" in client.get(page_of(vm)).content.decode()


def test_it_escapes_what_users_and_nodes_wrote(client, operator):
    vm = VirtualMachineFactory(name=SCRIPT, description=SCRIPT, error_message=SCRIPT, status=Status.ERROR)
    VirtualMachine.objects.filter(pk=vm.id).update(allocated_gpu=[SCRIPT])
    logs.record(vm.id, "info", SCRIPT)
    Task.objects.create(type="vm-stop", subject_id=vm.id, error=SCRIPT)
    SnapshotFactory(vm=vm, name=SCRIPT, description=SCRIPT, error=SCRIPT)
    snapshot = Snapshot.objects.get()

    for url in (LIST, page_of(vm), f"{LIST}{vm.id}/stop/", f"/admin/snapshots/snapshot/{snapshot.id}/change/",
                "/admin/snapshots/snapshot/", "/admin/resources/logentry/"):  # fmt: skip
        page = client.get(url).content.decode()
        assert "alert(1)" in page
        assert SCRIPT not in page


def test_it_shows_no_secret_anywhere(client, operator):
    vm = VirtualMachineFactory(config=vm_config(cloudInit={"hostname": "web", "username": "ubuntu"}))
    secrets.store(vm.id, ("hash", "$6$the-hash-itself"))
    now = timezone.now()
    ConsoleToken.objects.create(digest="d1935" * 12, vm=vm, user_id=vm.owner_id, expires_at=now + timedelta(hours=1))

    for url in ("/admin/", LIST, page_of(vm), f"{LIST}{vm.id}/delete/", "/admin/resources/consoletoken/"):
        page = client.get(url).content.decode()
        assert "the-hash-itself" not in page
        assert "d1935d1935" not in page
    assert VmSecret.objects.exists()


def test_it_does_not_know_the_model_of_secrets(client, operator):
    assert ContentType.objects.filter(model="vmsecret").exists()
    assert client.get("/admin/resources/vmsecret/").status_code == 404


def test_it_names_the_user_of_a_console(client, operator):
    vm = VirtualMachineFactory()
    ConsoleToken.objects.create(digest="d" * 64, vm=vm, user_id=vm.owner_id, expires_at=timezone.now())

    assert vm.owner.username in client.get("/admin/resources/consoletoken/").content.decode()


def test_it_answers_404_for_a_vm_that_is_not_there(client, operator):
    assert client.get(f"{LIST}{'0' * 24}/start/").status_code == 404
    assert client.post(f"{LIST}nonsense/start/").status_code == 404
