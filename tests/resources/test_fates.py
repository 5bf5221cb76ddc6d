"""What becomes of a VM when a worker dies, its node dies, or its backend refuses: the table, cell by cell"""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.actors import Actor
from nodes.models import Claim, Node
from nodes.strays import sentences
from resources import actions, handlers, reconcile, secrets
from resources.console import open_console
from resources.models import ConsoleToken, LogEntry, SecretKind, VirtualMachine, VmSecret
from resources.reconcile import sweep_all
from resources.recount import recount
from resources.states import Status
from snapshots.models import Snapshot, SnapshotStatus
from tasks.engine import Run, give_back, run_task
from tasks.models import Task, TaskStatus
from tasks.queue import cancel, take
from tasks.worker import drain
from tests.backends import scripted
from tests.factories import (
    NetworkFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    static_network,
)
from vmbackends.base import DomainState, Power
from vmbackends.errors import Busy, NodeUnreachable, NotAsked, NotSupported, Refused, Untouched

pytestmark = [pytest.mark.django_db, pytest.mark.one_engine]

GONE = NodeUnreachable("node-1 cannot be reached")
NO = Refused("The pool has no space. Free some, then try again.")


class WorkerKilled(BaseException):
    """What kill -9 looks like from within: nothing after it runs."""


@pytest.fixture
def backend():
    with scripted() as backend:
        yield backend


@pytest.fixture
def user():
    return UserFactory()


def vm_in(user, status, **fields):
    config = {"networkConfig": static_network("192.168.100.10")}
    return VirtualMachineFactory(
        organization=user.organization, owner=user, status=status, **{"config": config, **fields}
    )


def act(user, vm, action, **kwargs):
    return getattr(actions, action)(Actor.of(user, via="api"), vm.id, **kwargs)


def run(backend, *, fault=None, at="*"):
    """Let a worker do all that is due, with this fault of the backend."""
    if fault is not None:
        backend.faults[at] = fault
    drain(ignore_waits=True, limit=15)
    vm = VirtualMachine.objects.latest("created_at")
    return vm, Task.objects.latest("created_at")


def die(backend, at):
    """A worker is killed in this call of the backend; its lease runs out."""
    backend.faults[at] = WorkerKilled()
    with pytest.raises(WorkerKilled):
        drain(ignore_waits=True)
    del backend.faults[at]
    Task.objects.update(lease_until=timezone.now() - timedelta(days=1))


def pass_the_deadline():
    Task.objects.update(deadline_at=timezone.now() - timedelta(days=1), not_before=None)


DEPLOY_CALLS = ("create_disk", "write_seed", "define", "start", "domain", "remove_seed")
START_CALLS = ("grow_disk", "define", "start", "domain")
STOP_CALLS = ("power", "shutdown", "power_off")
DELETE_CALLS = ("power_off", "undefine", "delete_disks")


class TestDeployingFirst:
    @pytest.mark.parametrize("call", DEPLOY_CALLS)
    def test_a_worker_that_dies_is_followed_by_another(self, backend, user, call):
        act(user, vm_in(user, Status.QUEUED), "start")

        die(backend, call)
        vm, task = run(backend)

        assert (vm.status, task.status, vm.task) == (Status.RUNNING, TaskStatus.SUCCEEDED, None)

    @pytest.mark.parametrize("call", DEPLOY_CALLS)
    def test_a_node_that_dies_leaves_it_in_error_with_its_claims_after_the_deadline(self, backend, user, call):
        act(user, vm_in(user, Status.QUEUED), "start")
        run(backend, fault=GONE, at=call)

        pass_the_deadline()
        vm, task = run(backend)

        assert (vm.status, vm.error_reason, task.status) == (Status.ERROR, "node_absent", TaskStatus.FAILED)
        assert "not known whether it runs" in vm.error_message
        assert Claim.objects.filter(vm_id=vm.id).exists()

    @pytest.mark.parametrize("call", DEPLOY_CALLS[:4])
    def test_a_refusal_is_undone_and_the_deploy_failed(self, backend, user, call):
        act(user, vm_in(user, Status.QUEUED), "start")

        vm, task = run(backend, fault=NO, at=call)

        assert (vm.status, vm.deployed, vm.desired_on) == (Status.FAILED, False, False)
        assert "The pool has no space" in vm.error_message
        assert task.outcome == {"reason": "refused", "undone": True}
        assert "delete_disks" in backend.calls
        assert Claim.objects.filter(vm_id=vm.id).exists(), "the reservation stays, to try again"

    def test_a_start_that_took_long_and_failed_is_undone_and_the_deploy_failed(self, backend, user, monkeypatch):
        """It was begun by one worker, and another asks what it came to: it is told that it was begun."""
        told = []

        def start(node, vm, *, begun):
            told.append(begun)
            if len(told) > 2:
                raise NO
            return False

        monkeypatch.setattr(backend, "start", start)
        act(user, vm_in(user, Status.QUEUED), "start")

        vm, _ = run(backend)

        assert told == [False, True, True]
        assert (vm.status, vm.error_message) == (Status.FAILED, NO.message)

    def test_a_refusal_that_cannot_be_undone_is_an_error(self, backend, user):
        act(user, vm_in(user, Status.QUEUED), "start")
        backend.faults["delete_disks"] = Refused("The disk is in use.")

        vm, task = run(backend, fault=NO, at="define")

        assert (vm.status, vm.deployed) == (Status.ERROR, True)
        assert task.outcome["undone"] is False

    def test_a_worker_that_dies_while_it_undoes_is_followed_in_undoing(self, backend, user):
        act(user, vm_in(user, Status.QUEUED), "start")
        backend.faults["start"] = NO

        die(backend, "delete_disks")
        backend.faults.clear()
        vm, _ = run(backend)

        assert (vm.status, vm.deployed) == (Status.FAILED, False)

    def test_a_failed_deploy_can_be_tried_again(self, backend, user):
        act(user, vm_in(user, Status.QUEUED), "start")
        vm, _ = run(backend, fault=NO, at="create_disk")
        backend.faults.clear()

        act(user, vm, "start")
        vm, _ = run(backend)

        assert (vm.status, vm.error_message) == (Status.RUNNING, "")


@pytest.mark.parametrize(("action", "before"), [("start", Status.STOPPED), ("restart", Status.RUNNING)])
class TestLaterStartAndRestart:
    @pytest.mark.parametrize("call", START_CALLS)
    def test_a_worker_that_dies_is_followed_by_another(self, backend, user, action, before, call):
        act(user, vm_in(user, before), action)

        die(backend, call)
        vm, _ = run(backend)

        assert (vm.status, vm.task) == (Status.RUNNING, None)

    @pytest.mark.parametrize("call", START_CALLS)
    def test_a_node_that_dies_leaves_it_in_error_with_its_disk(self, backend, user, action, before, call):
        act(user, vm_in(user, before), action)
        run(backend, fault=GONE, at=call)

        pass_the_deadline()
        vm, _ = run(backend)

        assert (vm.status, vm.error_reason, vm.deployed) == (Status.ERROR, "node_absent", True)
        assert "delete_disks" not in backend.calls

    @pytest.mark.parametrize("call", START_CALLS[:3])
    def test_a_refusal_is_an_error_and_keeps_the_disk(self, backend, user, action, before, call):
        act(user, vm_in(user, before), action)

        vm, task = run(backend, fault=NO, at=call)

        looked = call == "grow_disk" and before == Status.RUNNING  # a restart does before it begins
        assert (vm.status, task.status) == (Status.RUNNING if looked else Status.ERROR, TaskStatus.FAILED)
        assert "delete_disks" not in backend.calls


class TestAStartAfterAReboot:
    """Which nobody asked for: a VM that was on is to come on again."""

    @pytest.mark.parametrize("call", ["grow_disk", "define", "start"])
    def test_one_that_is_refused_is_in_error_and_is_to_be_on_still(self, backend, user, call):
        vm = vm_in(user, Status.RUNNING)
        Node.objects.update(boot_id="before")
        backend.states[vm.id] = DomainState(Power.OFF)
        sweep_all()

        vm, task = run(backend, fault=NO, at=call)
        sweep_all()

        vm.refresh_from_db()
        assert (task.type, vm.status, vm.error_message) == ("vm-start", Status.ERROR, NO.message)
        assert vm.desired_on


class TestARestartWithoutADisk:
    def test_a_guest_that_runs_is_not_touched(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        on_since = vm.desired_since
        act(user, vm, "restart")

        vm, task = run(backend, fault=Untouched("The disk is gone."), at="grow_disk")

        assert (vm.status, vm.task, vm.error_message) == (Status.RUNNING, None, "")
        assert (vm.desired_on, vm.desired_since) == (True, on_since)
        assert task.error == "The disk is gone."
        assert not {"shutdown", "power_off"} & set(backend.calls)
        entry = LogEntry.objects.latest("at")
        words = "It was not restarted, and nothing was touched: The disk is gone."
        assert (entry.level, entry.message) == ("error", words)

    @pytest.mark.parametrize("reason", ["node_absent", "guest_paused"])
    def test_one_that_may_run_is_put_right_by_what_its_node_shows(self, backend, user, reason):
        vm = vm_in(user, Status.ERROR, error_reason=reason)
        act(user, vm, "restart")
        run(backend, fault=Untouched("The disk is gone."), at="grow_disk")
        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True)

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.RUNNING

    def test_one_whose_network_was_taken_away_runs_on(self, backend, user):
        vm = vm_in(user, Status.RUNNING, config={"networkConfig": static_network("192.168.100.10", 300)})
        act(user, vm, "restart")
        NetworkFactory(vlan_id=300, organizations=[OrganizationFactory()])

        vm, task = run(backend)

        assert (vm.status, task.status) == (Status.RUNNING, TaskStatus.FAILED)
        assert not {"shutdown", "power_off"} & set(backend.calls)

    def test_one_that_does_not_run_says_why_it_is_in_error(self, backend, user):
        vm = vm_in(user, Status.ERROR)
        act(user, vm, "restart")

        vm, _ = run(backend, fault=Untouched("The disk is gone."), at="grow_disk")

        assert (vm.status, vm.error_message) == (Status.ERROR, "The disk is gone.")

    def test_one_that_was_never_up_gets_its_disk_later(self, backend, user):
        vm = vm_in(user, Status.ERROR, started_at=None)
        act(user, vm, "restart")

        run(backend)

        assert backend.calls.index("power_off") < backend.calls.index("create_disk")
        assert "grow_disk" not in backend.calls


class TestAGuestThatDoesNotSayThatItIsUp:
    @pytest.fixture(autouse=True)
    def no_more_time(self, settings):
        settings.BOOT_SECONDS = 0

    def begin(self, backend, user, action, before, power=Power.RUNNING, **fields):
        vm = vm_in(user, before, **fields)
        backend.states[vm.id] = DomainState(power, booted=False, ip_address="192.168.100.10")
        act(user, vm, action, **({"force": True} if action == "restart" else {}))
        return run(backend)

    def test_its_first_deploy_fails_and_is_undone(self, backend, user):
        vm, _ = self.begin(backend, user, "start", Status.QUEUED)
        assert (vm.status, vm.deployed) == (Status.FAILED, False)
        assert "The guest did not come up within 0 s" in vm.error_message

    @pytest.mark.parametrize(("action", "before"), [("start", Status.STOPPED), ("restart", Status.RUNNING)])
    def test_one_that_was_up_before_and_runs_is_started_with_a_warning(self, backend, user, action, before):
        vm, task = self.begin(backend, user, action, before)
        assert (vm.status, vm.error_message, task.status) == (Status.RUNNING, "", TaskStatus.SUCCEEDED)
        (warning,) = LogEntry.objects.filter(vm=vm, level="warning", message__startswith="The guest runs;")
        assert "did not say that it is up within 0 s" in warning.message

    def test_one_that_has_never_been_up_is_in_error(self, backend, user):
        vm, _ = self.begin(backend, user, "start", Status.STOPPED, started_at=None)
        assert vm.status == Status.ERROR
        assert "did not come up" in vm.error_message

    def test_one_that_does_not_stay_on_is_in_error(self, backend, user):
        vm, _ = self.begin(backend, user, "start", Status.STOPPED, power=Power.CRASHED)
        assert vm.status == Status.ERROR
        assert "did not stay on" in vm.error_message

    def test_it_is_waited_for_as_long_as_any_other(self, backend, user, settings):
        settings.BOOT_SECONDS = 300
        vm, _ = self.begin(backend, user, "start", Status.STOPPED)
        assert vm.status == Status.DEPLOYING


class TestStopping:
    @pytest.mark.parametrize("call", STOP_CALLS)
    def test_a_worker_that_dies_is_followed_by_another(self, backend, user, call):
        act(user, vm_in(user, Status.RUNNING), "stop")

        die(backend, call)
        vm, _ = run(backend)

        assert (vm.status, vm.desired_on, vm.task) == (Status.STOPPED, False, None)

    @pytest.mark.parametrize("call", STOP_CALLS)
    def test_a_node_that_dies_never_makes_it_stopped(self, backend, user, call):
        act(user, vm_in(user, Status.RUNNING), "stop")
        run(backend, fault=GONE, at=call)

        pass_the_deadline()
        vm, _ = run(backend)

        assert (vm.status, vm.error_reason) == (Status.ERROR, "node_absent")

    @pytest.mark.parametrize("call", STOP_CALLS)
    def test_a_refusal_is_an_error(self, backend, user, call):
        act(user, vm_in(user, Status.RUNNING), "stop")

        vm, _ = run(backend, fault=NO, at=call)

        assert vm.status == Status.ERROR

    def test_nothing_is_asked_of_a_guest_that_goes_down(self, backend, user):
        act(user, vm_in(user, Status.RUNNING), "stop")

        vm, _ = run(backend)

        assert vm.status == Status.STOPPED
        assert "domain" not in backend.calls

    def test_a_guest_that_ignores_it_has_its_power_cut(self, backend, user, settings):
        settings.SHUTDOWN_SECONDS = 0
        vm = vm_in(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True)
        act(user, vm, "stop")

        vm, _ = run(backend)

        assert vm.status == Status.STOPPED
        assert "power_off" in backend.calls
        assert LogEntry.objects.filter(vm=vm, message__contains="its power is cut").exists()

    @pytest.mark.parametrize("power", [Power.OFF, Power.CRASHED, Power.MISSING])
    def test_of_an_error_a_domain_that_is_off_or_missing_is_stopped_and_stays_so(self, backend, user, power):
        vm = vm_in(user, Status.ERROR)
        backend.states[vm.id] = DomainState(power)
        act(user, vm, "stop")

        vm, _ = run(backend)
        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.error_message) == (Status.STOPPED, "")
        assert "shutdown" not in backend.calls
        assert not LogEntry.objects.filter(vm=vm, message__contains="power is cut").exists()


class TestRunningWithoutATask:
    def test_a_node_that_dies_changes_no_status_but_health(self, backend, user, client_of):
        vm = vm_in(user, Status.RUNNING)
        backend.faults["observe"] = GONE

        sweep_all()

        answer = client_of(user).get(f"/resources/{vm.id}/status").json()
        assert (answer["status"], answer["health"]) == ("running", "unknown")

    @pytest.mark.parametrize(("seen_before_s", "online"), [(5, True), (600, False)])
    def test_a_node_that_was_not_asked_is_taken_for_what_was_seen_lately(self, backend, user, seen_before_s, online):
        seen = timezone.now() - timedelta(seconds=seen_before_s)
        vm = vm_in(user, Status.RUNNING, node=NodeFactory(last_seen=seen))
        backend.faults["observe"] = NotAsked("node-1 cannot be reached. It is not asked again for 60 s.")

        sweep_all()

        vm.node.refresh_from_db()
        assert vm.node.online is online

    def test_a_node_that_is_too_busy_is_not_taken_for_one_that_is_away(self, backend, user):
        vm = vm_in(user, Status.RUNNING, node=NodeFactory(online=True, last_seen=timezone.now() - timedelta(hours=1)))
        backend.faults["observe"] = NodeUnreachable("Node node-1 is too busy to look at its domains.", busy=True)

        sweep_all()

        vm.node.refresh_from_db()
        assert vm.node.online

    def test_one_seen_off_is_stopped_with_the_reason(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(Power.OFF, reason="shut down by the guest")

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.desired_on) == (Status.STOPPED, False)
        assert LogEntry.objects.filter(vm=vm, message__contains="shut down by the guest").exists()

    @pytest.mark.parametrize("address", ["x" * 323, "127.0.0.1", "10.0.0.8:22/<b>"])
    def test_what_a_guest_says_is_its_address_is_written_only_where_it_is_one(self, backend, user, address):
        vm = vm_in(user, Status.QUEUED, config={"networkConfig": {"ipMode": "dhcp", "mode": "bridge-vlan"}})
        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True, ip_address=address)
        act(user, vm, "start")
        vm, _ = run(backend)
        assert (vm.status, vm.ip_address) == (Status.RUNNING, "")

        sweep_all()
        vm.refresh_from_db()
        assert (vm.status, vm.ip_address) == (Status.RUNNING, "")

        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True, ip_address="10.0.0.8")
        sweep_all()
        vm.refresh_from_db()
        assert vm.ip_address == "10.0.0.8"

    @pytest.mark.parametrize("power", [Power.CRASHED, Power.PAUSED, Power.MISSING])
    def test_one_crashed_paused_or_gone_is_an_error(self, backend, user, power):
        vm = vm_in(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(power, reason="I/O error")

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.ERROR
        assert vm.error_message

    def test_one_with_a_task_is_left_to_it(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        act(user, vm, "stop")
        backend.states[vm.id] = DomainState(Power.CRASHED)

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.STOPPING


class TestANodeThatAnswersAndShowsNotAll:
    def test_one_that_cannot_be_looked_at_changes_no_status_and_is_not_called_well_for_long(
        self, backend, user, client_of
    ):
        seen = timezone.now() - timedelta(days=1)
        vm = vm_in(user, Status.RUNNING, node=NodeFactory(last_seen=seen))
        backend.faults["observe"] = Refused("Node node-1 could not look at its domains: out of memory.")

        sweep_all()

        answer = client_of(user).get(f"/resources/{vm.id}/status").json()
        assert (answer["status"], answer["health"]) == ("running", "unknown")
        node = Node.objects.get()
        assert (node.online, node.last_seen) == (True, seen)
        assert list(sentences(node)) == [
            "The last look at it did not see all: Node node-1 could not look at its domains: out of memory."
        ]
        del backend.faults["observe"]
        sweep_all()
        assert Node.objects.get().strays == {}

    def test_without_its_pool_its_vms_are_what_its_domains_are(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        backend.faults_seen = ("The node has no storage pool aiwm.",)
        backend.states[vm.id] = DomainState(Power.OFF, reason="shut down from within")

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.STOPPED
        assert Node.objects.get().strays == {"unseen": ["The node has no storage pool aiwm."]}

    @pytest.mark.parametrize(("boot_id", "status"), [("before", Status.STOPPED), ("after", Status.DEPLOYING)])
    def test_whether_it_was_rebooted_is_asked_again_where_it_cannot_tell(self, backend, user, boot_id, status):
        backend.boot_id = "before"
        vm = vm_in(user, Status.RUNNING)
        sweep_all()
        backend.boot_id = ""
        backend.states[vm.id] = DomainState(Power.OFF)

        sweep_all()
        vm.refresh_from_db()
        version = vm.version
        assert (vm.status, vm.desired_on) == (Status.ERROR, True)
        assert "cannot tell yet" in vm.error_message
        sweep_all()
        vm.refresh_from_db()
        assert vm.version == version, "what is no news is not written"

        backend.boot_id = boot_id
        sweep_all()
        vm.refresh_from_db()
        assert (vm.status, vm.error_message) == (status, "")


class TestTheNodesReturn:
    @pytest.mark.parametrize(("power", "status"), [(Power.RUNNING, Status.RUNNING), (Power.OFF, Status.STOPPED)])
    def test_an_error_of_its_absence_takes_the_observed_state(self, backend, user, power, status):
        vm = vm_in(user, Status.ERROR, error_reason="node_absent", error_message="The node cannot be reached")
        backend.states[vm.id] = DomainState(power, booted=True)

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.error_message, vm.error_reason) == (status, "", "")

    def test_another_error_stays(self, backend, user):
        vm = vm_in(user, Status.ERROR, error_message="The guest crashed")

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.error_message) == (Status.ERROR, "The guest crashed")

    def test_after_a_reboot_what_was_meant_to_be_on_is_started_again(self, backend, user):
        node = NodeFactory()
        on, off = vm_in(user, Status.RUNNING, node=node), vm_in(user, Status.STOPPED, node=node, config={})
        sweep_all()
        backend.boot_id = "after-the-reboot"
        backend.states = {on.id: DomainState(Power.OFF), off.id: DomainState(Power.OFF)}

        sweep_all()
        on.refresh_from_db()
        assert (on.status, on.task.type) == (Status.DEPLOYING, "vm-start")
        backend.states.clear()
        drain(ignore_waits=True)

        on.refresh_from_db()
        off.refresh_from_db()
        assert (on.status, off.status) == (Status.RUNNING, Status.STOPPED)

    def test_after_a_reboot_one_that_had_a_snapshot_taken_meanwhile_is_started_again(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        sweep_all()
        task = Task.objects.create(type="snapshot-create", subject_id=vm.id, status=TaskStatus.PENDING)
        VirtualMachine.objects.filter(pk=vm.pk).update(task=task)
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        sweep_all()

        VirtualMachine.objects.filter(pk=vm.pk).update(task=None)
        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")
        assert Node.objects.get(pk=vm.node_id).boot_id == "after-the-reboot"

    @pytest.mark.parametrize(
        ("before", "meanwhile"),
        [
            (None, lambda user, vm: act(user, vm, "update", patch={"name": "Renamed"})),
            ("snapshot-create", lambda user, vm: VirtualMachine.objects.filter(pk=vm.pk).update(task=None)),
        ],
    )
    def test_after_a_reboot_one_that_is_changed_while_its_node_is_looked_at_is_started_again(
        self, backend, user, monkeypatch, before, meanwhile
    ):
        vm = vm_in(user, Status.RUNNING)
        sweep_all()
        if before:
            task = Task.objects.create(type=before, subject_id=vm.id, status=TaskStatus.PENDING)
            VirtualMachine.objects.filter(pk=vm.pk).update(task=task)
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        settle = reconcile._settle_node

        def settle_later(node, vms, answer):
            monkeypatch.setattr(reconcile, "_settle_node", settle)
            meanwhile(user, vm)
            settle(node, vms, answer)

        monkeypatch.setattr(reconcile, "_settle_node", settle_later)
        sweep_all()
        vm.refresh_from_db()
        assert (vm.status, vm.desired_on) == (Status.RUNNING, True)

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type, vm.node_rebooted) == (Status.DEPLOYING, "vm-start", False)

    def test_after_a_reboot_one_that_is_shut_down_from_within_stays_off_whatever_others_do(self, backend, user):
        node = NodeFactory()
        on = vm_in(user, Status.RUNNING, node=node)
        busy = vm_in(user, Status.RUNNING, node=node, config={})
        sweep_all()
        task = Task.objects.create(type="snapshot-create", subject_id=busy.id, status=TaskStatus.PENDING)
        VirtualMachine.objects.filter(pk=busy.pk).update(task=task)
        backend.boot_id = "after-the-reboot"
        backend.states = {on.id: DomainState(Power.RUNNING)}
        sweep_all()
        backend.states = {on.id: DomainState(Power.OFF, reason="shut down from within")}

        sweep_all()

        on.refresh_from_db()
        assert (on.status, on.desired_on) == (Status.STOPPED, False)

    def test_after_a_second_reboot_one_that_was_coming_up_is_started_again(self, backend, user):
        vm = vm_in(user, Status.STOPPED, config={})
        backend.boot_id = "before"
        sweep_all()
        act(user, vm, "start")
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        run(backend)
        vm.refresh_from_db()
        assert (vm.status, vm.error_reason) == (Status.ERROR, "node_absent")

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")

    def test_one_that_shut_itself_down_while_it_came_up_is_in_error_for_that(self, backend, user):
        vm = vm_in(user, Status.STOPPED, config={})
        act(user, vm, "start")
        backend.states = {vm.id: DomainState(Power.OFF, reason="shut down from within")}
        run(backend)
        vm.refresh_from_db()
        assert (vm.status, vm.error_reason) == (Status.ERROR, "")

    def test_after_a_reboot_one_that_could_not_be_started_in_time_is_started_again(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        sweep_all()
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        sweep_all()
        run(backend, fault=GONE, at="grow_disk")
        pass_the_deadline()
        run(backend)
        vm.refresh_from_db()
        assert (vm.status, vm.error_reason) == (Status.ERROR, "node_absent")
        backend.faults.clear()

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")

    def test_after_a_reboot_one_whose_stop_is_cancelled_is_started_again(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        sweep_all()
        task = act(user, vm, "stop")
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        sweep_all()
        cancel(task.id)

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")

    @pytest.mark.parametrize("reason", ["", "node_absent", "guest_paused"])
    def test_a_start_after_a_reboot_that_is_cancelled_leaves_it_as_it_was(self, backend, user, reason):
        status = Status.ERROR if reason else Status.RUNNING
        since = timezone.now() - timedelta(days=1)
        vm = vm_in(user, status, error_reason=reason, error_message=reason, desired_on=True, desired_since=since)
        Node.objects.update(boot_id="before")
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}
        sweep_all()
        vm.refresh_from_db()
        assert vm.status == Status.DEPLOYING

        cancel(vm.task_id)

        vm.refresh_from_db()
        assert (vm.status, vm.error_reason, vm.error_message) == (status, reason, reason)
        assert (vm.desired_on, vm.desired_since) == (True, since)

    def test_after_a_reboot_its_consoles_are_closed(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        open_console(Actor.of(user, via="api"), vm.id)
        sweep_all()
        assert ConsoleToken.objects.exists()
        backend.boot_id = "after-the-reboot"
        backend.states = {vm.id: DomainState(Power.OFF)}

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.DEPLOYING
        assert not ConsoleToken.objects.exists()

    def test_one_that_was_off_and_is_seen_running_has_run_since_now(self, backend, user):
        before = timezone.now() - timedelta(days=2)
        vm = vm_in(user, Status.STOPPED, started_at=before)
        backend.states[vm.id] = DomainState(Power.RUNNING)

        sweep_all()

        vm.refresh_from_db()
        assert vm.status == Status.RUNNING
        assert vm.started_at > before

    def test_one_that_was_out_of_reach_has_run_all_the_while(self, backend, user):
        vm = vm_in(user, Status.ERROR, error_reason="node_absent")
        before = vm.started_at
        backend.states[vm.id] = DomainState(Power.RUNNING)

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.started_at) == (Status.RUNNING, before)


class TestAGuestThatIsPaused:
    @pytest.fixture
    def vm(self, backend, user):
        vm = vm_in(user, Status.RUNNING)
        self.see(backend, vm, Power.RUNNING)
        self.see(backend, vm, Power.PAUSED, "paused by hand on its node")
        assert (vm.status, vm.error_reason) == (Status.ERROR, "guest_paused")
        return vm

    @staticmethod
    def see(backend, vm, power, reason=""):
        backend.states[vm.id] = DomainState(power, booted=True, reason=reason)
        sweep_all()
        vm.refresh_from_db()

    def test_it_runs_again_when_it_goes_on(self, backend, vm):
        before = vm.started_at

        self.see(backend, vm, Power.RUNNING)

        assert (vm.status, vm.started_at, vm.error_message, vm.error_reason) == (Status.RUNNING, before, "", "")

    def test_while_it_is_paused_only_another_reason_is_news(self, backend, vm):
        version = vm.version
        self.see(backend, vm, Power.PAUSED, "paused by hand on its node")
        assert vm.version == version
        self.see(backend, vm, Power.PAUSED, "paused by its watchdog")
        assert (vm.version, "by its watchdog" in vm.error_message) == (version + 1, True)

    def test_it_is_stopped_where_it_was_powered_off_there(self, backend, vm):
        self.see(backend, vm, Power.OFF)
        assert (vm.status, vm.desired_on, vm.error_reason) == (Status.STOPPED, False, "")

    @pytest.mark.parametrize("power", [Power.CRASHED, Power.MISSING])
    def test_what_it_has_come_to_else_stays(self, backend, vm, power):
        self.see(backend, vm, power)
        assert (vm.status, vm.error_reason) == (Status.ERROR, "")
        self.see(backend, vm, Power.RUNNING)
        assert vm.status == Status.ERROR

    def test_after_a_reboot_of_its_node_it_is_started_again(self, backend, vm):
        backend.boot_id = "after-the-reboot"
        self.see(backend, vm, Power.OFF)
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")

    def test_where_its_node_cannot_tell_of_a_reboot_it_waits_as_one_that_is_off(self, backend, vm):
        backend.boot_id = ""
        self.see(backend, vm, Power.OFF)
        assert (vm.status, "It is off" in vm.error_message) == (Status.ERROR, True)


class TestAFirstDeployThatWasGivenUp:
    """Its guest has had no cloud-init, or has it still: whatever brings it up must also end that."""

    def give_up(self, backend, user, at):
        vm = vm_in(user, Status.QUEUED)
        secrets.store(vm.id, (SecretKind.HASH, "$6$x"))
        act(user, vm, "start")
        run(backend, fault=GONE, at=at)
        pass_the_deadline()
        run(backend)
        backend.faults.clear()
        backend.calls.clear()
        vm.refresh_from_db()
        assert vm.status == Status.ERROR
        return vm

    @pytest.mark.parametrize("at", DEPLOY_CALLS)
    def test_a_restart_brings_it_to_its_end(self, backend, user, at):
        vm = self.give_up(backend, user, at)

        act(user, vm, "restart")
        vm, _ = run(backend)

        assert vm.status == Status.RUNNING
        assert {"create_disk", "write_seed", "remove_seed"} <= set(backend.calls)
        assert not VmSecret.objects.exists()

    def test_one_that_was_stopped_since_and_is_seen_running_is_brought_to_its_end(self, backend, user):
        vm = self.give_up(backend, user, "domain")
        act(user, vm, "stop", force=True)
        run(backend)
        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True)

        sweep_all()
        vm, _ = run(backend)

        assert vm.status == Status.RUNNING
        assert "remove_seed" in backend.calls
        assert not VmSecret.objects.exists()

    def test_one_that_is_seen_running_is_brought_to_its_end(self, backend, user):
        vm = self.give_up(backend, user, "domain")

        sweep_all()
        vm, _ = run(backend)

        assert (vm.status, vm.error_message) == (Status.RUNNING, "")
        assert "remove_seed" in backend.calls
        assert not VmSecret.objects.exists()


class TestError:
    @pytest.mark.parametrize("action", ["stop", "restart"])
    def test_restart_defines_it_anew_from_its_disk(self, backend, user, action):
        vm = vm_in(user, Status.ERROR)
        act(user, vm, action)

        vm, _ = run(backend)

        assert ("define" in backend.calls) == (action == "restart")

    def test_delete_hides_it_and_waits_for_a_dead_node(self, backend, user):
        vm = vm_in(user, Status.ERROR, node=NodeFactory(online=False))

        act(user, vm, "delete")
        vm, task = run(backend)

        assert vm.deleted_at is not None
        assert task.status == TaskStatus.PENDING
        assert Claim.objects.filter(vm_id=vm.id).exists()


class TestCleaningUp:
    @pytest.mark.parametrize("call", DELETE_CALLS)
    def test_a_worker_that_dies_is_followed_by_another(self, backend, user, call):
        act(user, vm_in(user, Status.STOPPED), "delete")

        die(backend, call)
        vm, _ = run(backend)

        assert (vm.deployed, vm.task) == (False, None)
        assert not Claim.objects.exists()

    @pytest.mark.parametrize("fault", [GONE, NO])
    @pytest.mark.parametrize("call", DELETE_CALLS)
    def test_it_is_tried_for_ever_and_holds_all_meanwhile(self, backend, user, call, fault):
        act(user, vm_in(user, Status.STOPPED), "delete")

        vm, task = run(backend, fault=fault, at=call)
        assert task.is_open
        assert task.deadline_at is None
        assert Claim.objects.filter(vm_id=vm.id).exists()
        backend.faults.clear()
        vm, task = run(backend)

        assert task.status == TaskStatus.SUCCEEDED
        assert not Claim.objects.exists()


class TestRestoring:
    def begin(self, user, status=Status.STOPPED, with_memory=False, **fields):
        from snapshots import actions as snapshot_actions

        vm = vm_in(user, status, **fields)
        snapshot = SnapshotFactory(vm=vm, with_memory=with_memory)
        snapshot_actions.restore(Actor.of(user, via="api"), vm.id, snapshot.public_id)
        return vm

    def test_a_worker_that_dies_is_followed_from_the_snapshot(self, backend, user):
        self.begin(user)

        die(backend, "restore_snapshot")
        vm, task = run(backend)

        assert (vm.status, task.status, vm.task) == (Status.STOPPED, TaskStatus.SUCCEEDED, None)

    def test_a_node_that_dies_leaves_an_error_after_the_deadline(self, backend, user):
        self.begin(user)
        run(backend, fault=GONE, at="restore_snapshot")

        pass_the_deadline()
        vm, _ = run(backend)

        assert (vm.status, vm.error_reason) == (Status.ERROR, "node_absent")

    @pytest.mark.parametrize("fault", [NO, NotSupported("QEMU cannot read its memory.")])
    def test_a_failure_is_an_error(self, backend, user, fault):
        self.begin(user)

        vm, _ = run(backend, fault=fault, at="restore_snapshot")

        assert vm.status == Status.ERROR

    @pytest.mark.parametrize(("status", "starts"), [(Status.RUNNING, 1), (Status.STOPPED, 0)])
    def test_one_that_was_on_is_started_again(self, backend, user, status, starts):
        self.begin(user, status)

        vm, task = run(backend)

        assert (vm.status, task.status) == (status, TaskStatus.SUCCEEDED)
        assert backend.calls.count("start") == starts

    def test_one_that_was_on_and_cannot_be_started_again_is_an_error(self, backend, user, monkeypatch):
        """The start took long, and another worker than the one that began it asks what it came to."""
        told = []

        def start(node, vm, *, begun):
            told.append(begun)
            if begun:
                raise NO
            return False

        monkeypatch.setattr(backend, "start", start)
        self.begin(user, Status.RUNNING)

        vm, _ = run(backend)

        assert told == [False, True]
        assert (vm.status, vm.error_message) == (Status.ERROR, NO.message)
        assert backend.calls.count("restore_snapshot") == 1
        assert "was restored, and then the VM did not come up" in LogEntry.objects.latest("at").message

    @pytest.mark.parametrize("method", ["power", "define"])
    def test_one_that_is_refused_as_its_domain_is_looked_for_changes_nothing(self, backend, user, method):
        vm = self.begin(user)
        backend.states[vm.id] = DomainState(Power.MISSING)

        vm, task = run(backend, fault=NO, at=method)

        assert (vm.status, vm.task, task.status) == (Status.STOPPED, None, TaskStatus.FAILED)
        assert "nothing was touched" in LogEntry.objects.latest("at").message

    @pytest.mark.parametrize(("with_memory", "defined"), [(False, 1), (True, 0)])
    def test_one_that_was_undefined_by_hand_is_defined_for_it(self, backend, user, with_memory, defined):
        """Not for memory, which fits no definition but its own."""
        vm = self.begin(user, with_memory=with_memory)
        backend.states[vm.id] = DomainState(Power.MISSING)
        run(backend)

        assert backend.calls.count("define") == defined

    def test_one_that_was_on_is_restored_when_its_guest_is_up(self, backend, user):
        vm = self.begin(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(Power.RUNNING)

        vm, task = run(backend)
        assert (task.is_open, task.message) == (True, "Waiting for the guest to come up")
        backend.states[vm.id] = DomainState(Power.RUNNING, booted=True)
        vm, task = run(backend)

        assert (vm.status, task.status) == (Status.RUNNING, TaskStatus.SUCCEEDED)

    def test_one_whose_guest_goes_off_as_it_comes_up_is_an_error(self, backend, user):
        vm = self.begin(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(Power.CRASHED, reason="it panicked")

        vm, task = run(backend)

        assert (vm.status, task.status) == (Status.ERROR, TaskStatus.FAILED)
        assert "The guest did not stay on: it panicked." in vm.error_message

    def test_one_whose_node_is_rebooted_as_it_comes_up_comes_on_again(self, backend, user):
        vm = self.begin(user, Status.RUNNING)
        backend.states[vm.id] = DomainState(Power.RUNNING)
        run(backend)
        backend.states[vm.id] = DomainState(Power.OFF)
        Node.objects.update(boot_id="before")
        vm, _ = run(backend)
        assert (vm.status, vm.error_reason) == (Status.ERROR, "node_absent")

        sweep_all()

        vm.refresh_from_db()
        assert (vm.status, vm.task.type) == (Status.DEPLOYING, "vm-start")

    def test_one_that_is_restored_with_its_memory_is_up(self, backend, user):
        vm = self.begin(user, Status.RUNNING, with_memory=True)
        backend.states[vm.id] = DomainState(Power.RUNNING)

        vm, task = run(backend)

        assert (vm.status, task.status) == (Status.RUNNING, TaskStatus.SUCCEEDED)

    @pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPED])
    def test_one_refused_beforehand_changes_nothing(self, backend, user, status):
        self.begin(user, status)

        vm, task = run(backend, fault=Untouched("The node does not have it."), at="restore_snapshot")

        assert (vm.status, vm.task, vm.error_message) == (status, None, "")
        assert (task.status, task.error) == (TaskStatus.FAILED, "The node does not have it.")
        entry = LogEntry.objects.filter(vm=vm).latest("at")
        assert (entry.level, "nothing was touched: The node does not have it." in entry.message) == ("error", True)

    @pytest.mark.parametrize(
        ("before", "after"),
        [(Busy("Busy with others."), Status.RUNNING), (NotAsked("Not asked."), Status.RUNNING), (GONE, Status.ERROR)],
    )
    def test_one_refused_after_calls_that_were_not_made_changes_nothing(self, backend, user, before, after):
        self.begin(user, Status.RUNNING)
        backend.faults["restore_snapshot"] = before
        drain(ignore_waits=True, limit=2)

        vm, _ = run(backend, fault=Untouched("The node does not have it."), at="restore_snapshot")

        assert vm.status == after

    @pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPED])
    def test_one_refused_when_an_earlier_call_may_have_begun_it_is_an_error(self, backend, user, status):
        self.begin(user, status)
        die(backend, "restore_snapshot")

        vm, _ = run(backend, fault=Untouched("The node does not have it."), at="restore_snapshot")

        assert vm.status == Status.ERROR

    def test_one_refused_when_the_database_did_not_take_down_what_was_done_is_an_error(
        self, backend, user, monkeypatch
    ):
        self.begin(user, Status.RUNNING)
        taken, write = take("w1"), Run._write

        def fails_after_the_call(held, **changes):
            if "restore_snapshot" in backend.calls:
                raise OperationalError("the server closed the connection")
            write(held, **changes)

        with monkeypatch.context() as patch:
            patch.setattr(Run, "_write", fails_after_the_call)
            with pytest.raises(OperationalError):
                run_task(taken)
        give_back(taken)

        vm, _ = run(backend, fault=Untouched("The node does not have it."), at="restore_snapshot")

        assert vm.status == Status.ERROR


class TestASnapshotBeingTaken:
    @pytest.fixture
    def backend(self):
        with scripted(instant_snapshots=False) as backend:
            yield backend

    def begin(self, user, status=Status.STOPPED):
        from snapshots import actions as snapshot_actions
        from snapshots.requests import SnapshotBody

        vm = vm_in(user, status)
        snapshot_actions.take(Actor.of(user, via="api"), vm.id, SnapshotBody(name="one"))

    def test_a_worker_that_dies_is_followed_and_finds_what_was_made(self, backend, user):
        self.begin(user)
        assert Snapshot.objects.get().status == SnapshotStatus.CREATING

        die(backend, "create_snapshot")
        vm, _ = run(backend)

        assert Snapshot.objects.get().status == SnapshotStatus.COMPLETED
        assert (vm.status, vm.task) == (Status.STOPPED, None)

    @pytest.mark.parametrize(("status", "defined"), [(Status.STOPPED, 1), (Status.RUNNING, 0)])
    def test_a_domain_that_was_undefined_by_hand_is_defined_anew_where_it_is_off(self, backend, user, status, defined):
        self.begin(user, status)
        backend.states[VirtualMachine.objects.get().id] = DomainState(Power.MISSING)
        run(backend)

        assert backend.calls.count("define") == defined

    @pytest.mark.parametrize("fault", [GONE, NO])
    def test_a_node_that_dies_or_refuses_fails_the_snapshot_and_leaves_the_vm(self, backend, user, fault):
        self.begin(user)
        run(backend, fault=fault, at="create_snapshot")
        pass_the_deadline()
        vm, _ = run(backend)

        assert Snapshot.objects.get().status == SnapshotStatus.FAILED
        assert (vm.status, vm.error_message, vm.task) == (Status.STOPPED, "", None)
        assert vm.snapshots_gb == 1, "nobody knows what there is of it"

    @pytest.mark.parametrize(("fault", "at"), [(Untouched("Its disk is gone."), "create_snapshot"), (NO, "power")])
    def test_one_of_which_nothing_was_made_holds_nothing(self, backend, user, fault, at):
        self.begin(user)
        vm, _ = run(backend, fault=fault, at=at)

        assert Snapshot.objects.get().status == SnapshotStatus.FAILED
        assert (vm.snapshots_gb, Snapshot.objects.get().reserved_gb) == (0, 0)
        assert recount() == []

    def test_it_is_told_as_taken_when_it_is(self, backend, user):
        self.begin(user)
        assert LogEntry.objects.latest("at").message == "Snapshot 'one' requested"
        run(backend)
        assert LogEntry.objects.latest("at").message == "Snapshot 'one' completed"


class TestASnapshotThatTakesLong:
    """The worker is given back meanwhile, and the node asked again."""

    @pytest.fixture
    def backend(self):
        with scripted(instant_snapshots=False) as backend:
            yield backend

    @staticmethod
    def let_answer(monkeypatch, backend, method, *answers):
        left = list(answers)
        monkeypatch.setattr(backend, method, lambda *_: left.pop(0))
        return left

    def test_it_is_creating_until_it_is_taken(self, backend, user, monkeypatch):
        TestASnapshotBeingTaken().begin(user)
        left = self.let_answer(monkeypatch, backend, "create_snapshot", None, None, 5 * 1024**3)

        drain()
        assert (Snapshot.objects.get().status, len(left)) == (SnapshotStatus.CREATING, 2)
        assert Task.objects.get().lease_until is None
        run(backend)

        snapshot = Snapshot.objects.get()
        assert (snapshot.status, snapshot.size, left) == (SnapshotStatus.COMPLETED, 5 * 1024**3, [])

    @pytest.mark.parametrize(("size", "has_memory"), [(5 * 1024**3, True), (0, False)])
    def test_one_of_a_guest_that_went_off_meanwhile_has_no_memory(self, backend, user, monkeypatch, size, has_memory):
        TestASnapshotBeingTaken().begin(user, Status.RUNNING)
        self.let_answer(monkeypatch, backend, "create_snapshot", None, size)

        run(backend)

        snapshot = Snapshot.objects.get()
        assert (snapshot.status, snapshot.with_memory) == (SnapshotStatus.COMPLETED, has_memory)

    def test_it_is_there_until_it_is_removed(self, backend, user, monkeypatch):
        from snapshots import actions as snapshot_actions

        vm = vm_in(user, Status.STOPPED)
        snapshot_actions.remove(Actor.of(user, via="api"), vm.id, SnapshotFactory(vm=vm).public_id)
        left = self.let_answer(monkeypatch, backend, "delete_snapshot", False, True)

        drain()
        assert (Snapshot.objects.count(), len(left)) == (1, 1)
        run(backend)

        assert (Snapshot.objects.count(), left) == (0, [])


class TestANodeMarkedLost:
    def test_its_vms_are_in_error_and_its_tasks_fail(self, backend, user):
        node = NodeFactory()
        running = vm_in(user, Status.RUNNING, node=node)
        deploying = vm_in(user, Status.QUEUED, node=node, config={})
        act(user, deploying, "start")
        Node.objects.update(lost=True)

        sweep_all()

        for vm in (running, deploying):
            vm.refresh_from_db()
            assert (vm.status, vm.task) == (Status.ERROR, None)
        assert Task.objects.get().status == TaskStatus.FAILED

    def test_an_operator_forgets_a_vm_and_all_is_free(self, backend, user):
        vm = vm_in(user, Status.ERROR)
        Node.objects.update(lost=True)

        act(OperatorFactory(), vm, "forget")

        vm.refresh_from_db()
        vm.node.refresh_from_db()
        assert vm.deleted_at is not None
        assert vm.node.used_vcpus == 0
        assert not Claim.objects.exists()

    def test_back_again_what_was_deleted_meanwhile_is_cleaned_up(self, backend, user):
        vm = vm_in(user, Status.STOPPED)
        act(user, vm, "delete")
        Node.objects.update(lost=True)
        sweep_all()
        assert Claim.objects.exists()
        Node.objects.update(lost=False)

        sweep_all()
        drain(ignore_waits=True)

        assert not Claim.objects.exists()


class TestACleanUpThatWasGivenUp:
    @pytest.fixture
    def tasks(self, backend, user):
        """Those of a VM whose clean-up killed its workers."""
        vm = vm_in(user, Status.STOPPED)
        act(user, vm, "delete")
        Task.objects.update(deaths=5)
        drain(ignore_waits=True)
        assert Task.objects.get(subject_id=vm.id).outcome["reason"] == "deaths"
        return Task.objects.filter(subject_id=vm.id)

    def test_it_is_left_alone_at_first(self, tasks):
        sweep_all()
        assert tasks.count() == 1

    def test_it_is_taken_up_after_an_hour(self, tasks):
        tasks.update(finished_at=timezone.now() - timedelta(minutes=61))
        sweep_all()
        assert tasks.count() == 2
        drain(ignore_waits=True)
        assert not Claim.objects.exists()


@pytest.mark.parametrize(("waits_s", "deadline_s"), [(1, 600), (360, 600), (900, 1140)])
def test_a_guest_that_is_given_more_time_has_it_before_the_deadline(waits_s, deadline_s):
    assert handlers.deadline_s(waits_s) == deadline_s


def test_a_node_that_fails_in_a_way_nobody_foresaw_hides_no_other(backend, user):
    NodeFactory(name="a", online=False)
    other = NodeFactory(name="b", online=False)
    observe = type(backend).observe

    def fail_on_the_first(self, node, vms):
        if node.name == "a":
            raise KeyError("surprise")
        return observe(self, node, vms)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(backend), "observe", fail_on_the_first)
        sweep_all()

    other.refresh_from_db()
    assert other.online
