"""What an engineer types in `manage.py shell`."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.actors import acting_as
from accounts.models import AuditEntry
from common.errors import ActionNotAllowed, Forbidden, NotFound, ValidationFailed
from nodes.models import Node
from resources.models import VirtualMachine
from resources.shell import NoWorker, WaitedInVain
from resources.states import Status
from tasks.models import Task, Worker
from tasks.worker import drain
from tests.factories import NodeFactory, OperatorFactory, OrganizationFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_named(monkeypatch):
    monkeypatch.delenv("AIWM_USER", raising=False)


@pytest.fixture
def admin():
    return OperatorFactory(username="admin")


def a_worker_lives():
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())


def names(vms):
    return {vm.name for vm in vms}


# The verbs


def test_it_starts_a_vm_and_waits_for_it(admin):
    vm = VirtualMachineFactory()

    with acting_as("admin"):
        task = vm.start()
        assert (vm.status, vm.task) == (Status.DEPLOYING, task)
        drain(ignore_waits=True)
        assert vm.wait_for("running", timeout_s=60) is vm

    assert vm.status == Status.RUNNING
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_id, entry.via) == ("vm.start", admin.id, "command")


def test_it_acts_as_the_user_of_the_environment(admin, monkeypatch):
    monkeypatch.setenv("AIWM_USER", "admin")
    vm = VirtualMachineFactory()

    assert vm.start().created_by == admin.id


@pytest.mark.parametrize(
    "act",
    [
        lambda vm: vm.start(),
        lambda vm: vm.stop(),
        lambda vm: vm.restart(),
        lambda vm: vm.edit(name="other"),
        lambda vm: vm.delete(),
        lambda vm: vm.snapshots.take("one"),
    ],
)
def test_it_refuses_nobody(act):
    vm = VirtualMachineFactory(status=Status.STOPPED)
    before = VirtualMachine.objects.values().get()

    with pytest.raises(Forbidden, match="acting_as"):
        act(vm)

    assert VirtualMachine.objects.values().get() == before


def test_it_refuses_a_user_who_is_not_there_or_switched_off():
    UserFactory(username="gone", is_active=False)

    for name in ("gone", "mallory"):
        with pytest.raises(Forbidden, match="no active user"), acting_as(name):
            pytest.fail("it acted")


def test_it_holds_to_the_users_organization():
    UserFactory(username="alice")

    with acting_as("alice"), pytest.raises(NotFound):
        VirtualMachineFactory().start()


def test_nobody_acts_after_the_block(admin):
    vm = VirtualMachineFactory()
    with acting_as("admin"):
        pass

    with pytest.raises(Forbidden):
        vm.start()


def test_it_stops_and_restarts(admin):
    vm = VirtualMachineFactory(status=Status.RUNNING)

    with acting_as("admin"):
        vm.restart()
        drain(ignore_waits=True)
        vm.wait_for("running").stop(force=True)
        drain(ignore_waits=True)

    assert vm.wait_for("stopped").status == Status.STOPPED
    assert Task.objects.get(type="vm-stop").payload["force"] is True


def test_it_says_what_the_status_does_not_allow(admin):
    vm = VirtualMachineFactory(status=Status.RUNNING)

    with acting_as("admin"), pytest.raises(ActionNotAllowed, match="Cannot start a VM that is running"):
        vm.start()


def test_it_edits_with_the_apis_names_and_shows_the_new_config(admin):
    vm = VirtualMachineFactory()
    assert vm.config.vcpus == 2

    with acting_as("admin"):
        edited = vm.edit(config={"vcpus": 4}, description="bigger")

    assert edited is vm
    assert (vm.vcpus, vm.config.vcpus, vm.description) == (4, 4, "bigger")


def test_it_deletes_by_the_action(admin):
    vm = VirtualMachineFactory(status=Status.STOPPED)

    with acting_as("admin"):
        task = vm.delete()

    assert task.type == "vm-delete"
    assert vm.deleted_at is not None
    drain(ignore_waits=True)
    assert VirtualMachine.objects.filter(pk=vm.id, deployed=False).exists()


def test_it_forgets_one_of_a_lost_node(admin):
    vm = VirtualMachineFactory(status=Status.ERROR)
    Node.objects.update(lost=True)

    with acting_as("admin"):
        vm.forget()

    assert (vm.deployed, vm.forgotten) == (False, True)


def test_it_deletes_no_rows(admin):
    VirtualMachineFactory()

    with acting_as("admin"), pytest.raises(TypeError, match="goes by its action"):
        VirtualMachine.objects.all().delete()

    assert VirtualMachine.objects.count() == 1


# Snapshots


def test_it_takes_restores_and_removes_a_snapshot(admin):
    vm = VirtualMachineFactory(status=Status.STOPPED)

    with acting_as("admin"):
        snapshot = vm.snapshots.take("before upgrade", "a description")
        assert (snapshot.vm, snapshot.name, snapshot.description) == (vm, "before upgrade", "a description")
        assert vm.snapshots.restore("before upgrade").type == "snapshot-restore"
        drain(ignore_waits=True)
        vm.wait_for("stopped")
        vm.snapshots.remove("before upgrade")
        drain(ignore_waits=True)

    assert not vm.snapshots.exists()


def test_it_validates_a_snapshots_name(admin):
    vm = VirtualMachineFactory(status=Status.STOPPED)

    with acting_as("admin"), pytest.raises(ValidationFailed, match="Snapshot name is required"):
        vm.snapshots.take("")


def test_it_takes_snapshots_of_a_vm_alone(admin):
    from snapshots.models import Snapshot

    with acting_as("admin"), pytest.raises(TypeError, match="belong to a VM"):
        Snapshot.objects.take("one")


# Waiting


def test_it_says_at_once_that_no_worker_lives(admin):
    vm = VirtualMachineFactory()

    with acting_as("admin"):
        vm.start()

    with pytest.raises(NoWorker, match="No worker lives"):
        vm.wait_for("running", timeout_s=60)


def test_it_does_not_wait_for_what_will_not_come():
    a_worker_lives()
    vm = VirtualMachineFactory(status=Status.FAILED, error_message="No room for the disk")

    with pytest.raises(WaitedInVain, match="is failed and will not become running: No room for the disk"):
        vm.wait_for("running")


def test_it_waits_no_longer_than_told(admin):
    a_worker_lives()
    vm = VirtualMachineFactory()

    with acting_as("admin"):
        vm.start()

    with pytest.raises(WaitedInVain, match="still deploying after 0 s"):
        vm.wait_for("running", timeout_s=0)


def test_it_waits_until_a_worker_has_done_it(admin, monkeypatch):
    a_worker_lives()
    vm = VirtualMachineFactory()
    monkeypatch.setattr("resources.shell.time.sleep", lambda seconds: drain(ignore_waits=True))

    with acting_as("admin"):
        vm.start()

    assert vm.wait_for("running").status == Status.RUNNING


# The manager


def test_it_finds_vms_by_status_and_node():
    node = NodeFactory(name="worker-02")
    VirtualMachineFactory(name="here", node=node, status=Status.RUNNING)
    VirtualMachineFactory(name="stopped", node=node, status=Status.STOPPED)
    VirtualMachineFactory(name="elsewhere", status=Status.RUNNING)
    VirtualMachineFactory(name="gone", node=node, status=Status.RUNNING, deleted_at=timezone.now())

    for reference in (node, node.id, "worker-02"):
        assert names(VirtualMachine.objects.running().on(reference)) == {"here"}


def test_it_finds_vms_by_organization():
    organization = OrganizationFactory(name="Acme")
    VirtualMachineFactory(name="theirs", organization=organization)
    VirtualMachineFactory()

    for reference in (organization, organization.id, "Acme"):
        assert names(VirtualMachine.objects.alive().of(reference)) == {"theirs"}


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.STOPPED, Status.FAILED])
def test_it_has_a_word_for_the_common_statuses(status):
    for each in Status:
        VirtualMachineFactory(name=each.value, status=each)

    assert names(getattr(VirtualMachine.objects, status.value)()) == {status.value}


# The command


def test_the_shell_knows_the_models_and_acting_as(admin):
    vm = VirtualMachineFactory()

    call_command(
        "shell",
        verbosity=0,
        command=f'with acting_as("admin"):\n    VirtualMachine.objects.get(pk="{vm.id}").start()',
    )

    assert Task.objects.get().created_by == admin.id


def test_the_shells_log_entry_is_a_line_of_a_vms_log():
    out = StringIO()

    call_command("shell", verbosity=2, command="LogEntry.objects.filter(vm__name='web').exists()", stdout=out)

    assert "from resources.models import" in out.getvalue()
    assert "django.contrib.admin.models" not in out.getvalue()
