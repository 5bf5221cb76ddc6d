"""A node that is marked lost, what is left alone of it, and what is given to nobody when it is back."""

import importlib

import pytest
from django.apps import apps
from django.test import override_settings
from django.utils import timezone

from accounts.actors import Actor
from common.errors import Conflict
from nodes import actions as node_actions
from nodes import claims, devices, lost, strays
from nodes.models import Claim, Gpu, Node, StrayAddress
from resources import actions, holdings, reconcile
from resources.models import ConsoleToken, LogEntry, VirtualMachine
from resources.reconcile import bury, sweep_all
from resources.recount import recount
from resources.states import Status
from resources.strays import note
from tasks.models import Task, TaskStatus
from tasks.queue import enqueue
from tasks.worker import drain
from tests.factories import (
    GpuFactory,
    NodeFactory,
    OperatorFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
    static_network,
)
from tests.nodes import bodies
from tests.nodes.beside import ONE_WRITES, beside
from tests.nodes.keeping import KeepingBackend, keeping
from vmbackends import get_backend
from vmbackends.base import Capabilities, DomainState, Observation, Power
from vmbackends.errors import NodeUnreachable, Refused

pytestmark = pytest.mark.django_db

ADDRESS = "10.0.0.5"
TAKEN = rf"^The address {ADDRESS} of VLAN 100 is taken by another VM\."
NEWCOMER = "c" * 24


@pytest.fixture
def backend():
    with keeping() as backend:
        yield backend


@pytest.fixture
def operator(client_of):
    return client_of(OperatorFactory())


@pytest.fixture
def node():
    node = NodeFactory(name="worker-01")
    for n in range(2):
        GpuFactory(node=node, device_id=f"GPU-{n}", pci_address=f"0000:{n}0:00.0")
    return node


@pytest.fixture
def vm(node):
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-1"]}
    config = {"networkConfig": static_network(ADDRESS), "gpuConfig": gpu}
    return VirtualMachineFactory(node=node, status=Status.RUNNING, config=config)


@pytest.fixture
def say(operator, node, django_capture_on_commit_callbacks):
    def say(**body):
        with django_capture_on_commit_callbacks(execute=True):
            answer = operator.patch(f"/resources/nodes/{node.id}", body, format="json")
        node.refresh_from_db()
        return answer

    return say


@pytest.fixture
def forgotten(say, vm):
    say(lost=True)
    actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    return vm


def gpus_of_strays():
    return list(Gpu.objects.exclude(stray_domain="").values_list("device_id", "stray_domain"))


def take():
    claims.take_address(NEWCOMER, "", "default", 100, ADDRESS)
    claims.give_back(NEWCOMER)


def test_its_vms_are_in_error_and_its_tasks_end_as_soon_as_it_is_said(backend, operator, say, vm, node):
    deploying = VirtualMachineFactory(node=node)
    actions.start(Actor.of(OperatorFactory(), via="api"), deploying.id)
    assert say(lost=True).json()["status"] == "lost"
    for each in (vm, deploying):
        each.refresh_from_db()
        assert (each.status, each.task, each.error_message) == (
            Status.ERROR,
            None,
            "worker-01 is marked lost. An operator can forget the VM, or bring the node back.",
        )
    assert Task.objects.get(subject_id=deploying.id).outcome["reason"] == "lost"


def test_where_that_fails_the_node_is_lost_all_the_same_and_the_next_sweep_does_it(
    backend, say, vm, node, monkeypatch, caplog
):
    def fails(node):
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(lost.use, "bury", fails)
        assert say(lost=True).json()["status"] == "lost"
    assert "no such luck" in caplog.text
    vm.refresh_from_db()
    assert vm.status == Status.RUNNING
    sweep_all()
    vm.refresh_from_db()
    assert vm.status == Status.ERROR


def test_what_is_asked_of_it_meanwhile_is_not_done_there(backend, say, vm, client_of):
    """A deletion hides the VM; it ends at the next sweep, and is done when the node is back."""
    say(lost=True)
    answer = client_of(vm.owner).delete(f"/resources/{vm.id}")
    assert answer.status_code == 202
    drain(ignore_waits=True)
    assert [name for name, _ in backend.calls if name == "undefine"] == []
    task = Task.objects.get(subject_id=vm.id, type="vm-delete")
    assert task.is_open
    sweep_all()
    task.refresh_from_db()
    assert (task.status, "is marked lost" in task.error) == (TaskStatus.FAILED, True)
    assert Claim.objects.filter(vm_id=vm.id).exists()
    say(lost=False)
    sweep_all()
    drain(ignore_waits=True)
    assert not Claim.objects.filter(vm_id=vm.id).exists()


def test_one_that_is_being_deleted_there_can_be_forgotten_at_once(backend, say, vm, client_of):
    say(lost=True)
    client_of(vm.owner).delete(f"/resources/{vm.id}")
    actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    assert Task.objects.get(type="vm-delete").outcome["reason"] == "lost"
    vm.refresh_from_db()
    assert (vm.task, vm.deployed, vm.forgotten) == (None, False, True)
    take()


def test_a_task_of_a_node_that_is_not_lost_is_ended_by_no_such_attempt(backend, vm):
    actions.stop(Actor.of(vm.owner, via="api"), vm.id)
    with pytest.raises(Conflict, match="not marked lost"):
        actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    assert Task.objects.get().is_open


def test_what_a_forgotten_vm_had_is_free_while_its_node_is_lost(say, forgotten):
    take()
    assert recount() == []


def test_back_again_its_node_gives_that_to_nobody_and_takes_no_vm_before_it_was_looked_at(
    backend, say, forgotten, node
):
    domain = f"vm-{forgotten.id}"
    assert say(lost=False).json()["status"] == "maintenance"
    with pytest.raises(Conflict, match=TAKEN):
        take()
    assert gpus_of_strays() == [("GPU-1", domain)]
    assert strays.summary(node) == ["not looked at yet"]
    assert recount() == []
    answer = say(enabled=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "What domains are on worker-01 has not been looked at yet." in answer.json()["detail"]

    assert list(strays.sentences(node)) == [
        "What domains are on it has not been looked at yet; it takes no new VM before. A worker does that within a "
        "minute of its answering.",
        f"GPU-1 is given to no VM until it was looked at: {domain} had it.",
        f"Addresses that are given to no VM until it was looked at: {ADDRESS} of VLAN 100 ({domain}).",
    ]

    backend.addresses = {(100, ADDRESS): domain}
    backend.there = {forgotten.id: (domain,)}
    sweep_all()
    node.refresh_from_db()
    assert node.strays == {"orphans": {forgotten.id: [domain]}}
    drain()
    assert say(enabled=True).json()["status"] == "online"
    assert list(strays.sentences(node))[1:] == [
        f"Addresses that are given to no VM while such domains have them: {ADDRESS} of VLAN 100 ({domain})."
    ]
    assert gpus_of_strays() == []
    forgotten.refresh_from_db()
    assert forgotten.forgotten


def test_what_its_domain_has_no_more_is_free_again_after_the_look(backend, say, forgotten):
    say(lost=False)
    backend.addresses = {}
    sweep_all()
    drain()
    take()
    assert not StrayAddress.objects.exists()
    assert gpus_of_strays() == []


def test_while_it_does_not_answer_nothing_is_free(backend, say, forgotten, node):
    say(lost=False)
    backend.faults["observe"] = NodeUnreachable("worker-01 cannot be reached.")
    sweep_all()
    drain(ignore_waits=True)
    with pytest.raises(Conflict, match=TAKEN):
        take()
    assert say(enabled=True).status_code == 409


def test_an_address_that_was_given_to_another_meanwhile_stays_that_one_s(backend, say, forgotten, node):
    other = VirtualMachineFactory(status=Status.RUNNING, config={"networkConfig": static_network(ADDRESS)})
    say(lost=False)
    assert Claim.objects.get(key__contains=ADDRESS).vm_id == other.id
    assert recount() == []
    doubt = f"{ADDRESS} of VLAN 100 is the address of the VM {other.id}, and of the domain vm-{forgotten.id} here"
    assert not any(doubt in sentence for sentence in strays.sentences(node)), "it may be there no more"
    backend.addresses = {(100, ADDRESS): f"vm-{forgotten.id}"}
    sweep_all()
    drain()
    node.refresh_from_db()
    assert doubt in list(strays.sentences(node))[-1]


def test_lost_once_more_all_of_it_is_free_and_it_is_looked_at_once_more(backend, say, forgotten):
    """Its domain runs still."""
    backend.there = {forgotten.id: (f"vm-{forgotten.id}",)}
    for looked in (False, True, True):
        say(lost=False)
        assert gpus_of_strays() == [("GPU-1", f"vm-{forgotten.id}")]
        assert say(enabled=True).status_code == 409
        if looked:
            sweep_all()
            drain()
            assert say(enabled=True).status_code == 200
        say(lost=True)
        take()
        assert gpus_of_strays() == []
        assert recount() == []


def test_of_one_that_was_seen_gone_nothing_is_held_again(backend, say, forgotten, node):
    say(lost=False)
    sweep_all()
    drain()
    forgotten.refresh_from_db()
    assert not forgotten.forgotten
    say(lost=True)
    say(lost=False)
    take()
    assert gpus_of_strays() == []


def test_one_that_was_forgotten_since_it_was_seen_is_not_gone(backend, say, forgotten, node):
    """The node was lost once more and taken back, while a sweep looked at it."""
    say(lost=False)
    note(node, Observation("boot", {forgotten.id: DomainState(Power.RUNNING)}))
    drain()
    forgotten.refresh_from_db()
    assert forgotten.forgotten


def test_where_its_volumes_could_not_be_seen_it_may_be_there_still(backend, say, forgotten, node):
    say(lost=False)
    backend.volumes_seen = False
    sweep_all()
    drain()
    forgotten.refresh_from_db()
    assert forgotten.forgotten


@pytest.mark.parametrize("asked", ["look", "refresh"])
def test_what_was_asked_before_it_was_lost_counts_for_nothing(backend, say, operator, vm, node, monkeypatch, asked):
    """A worker was at it, and knew of no VM that was forgotten."""
    real, times = backend.devices_of_others, []

    def ask(ref, known):
        times.append(set(known))
        if len(times) == 1:
            say(lost=True)
            actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
            say(lost=False)
        return real(ref, known)

    monkeypatch.setattr(backend, "devices_of_others", ask)
    backend.addresses = {}
    if asked == "look":
        devices.look_soon(node)
    else:
        operator.post(f"/resources/nodes/{node.id}/refresh")
    drain(limit=1)
    assert vm.id in times[0]
    with pytest.raises(Conflict, match=TAKEN):
        take()
    assert say(enabled=True).status_code == 409


def test_a_look_at_a_node_that_was_changed_meanwhile_is_taken_once_more(backend, say, node, monkeypatch):
    real, times = backend.devices_of_others, []

    def ask(ref, known):
        times.append(ref.settings.untagged_bridge)
        if len(times) == 1:
            say(untaggedBridge="br9")
        return real(ref, known)

    monkeypatch.setattr(backend, "devices_of_others", ask)
    devices.look_soon(node)
    drain(ignore_waits=True)
    assert times == ["br0", "br9"]
    assert Task.objects.get().status == TaskStatus.SUCCEEDED


def test_a_refresh_of_a_node_that_was_changed_meanwhile_asks_once_more(backend, say, operator, node, monkeypatch):
    real = backend.devices_of_others

    def ask(ref, known):
        if not backend.asked:
            say(hostname="elsewhere")
        return real(ref, known)

    monkeypatch.setattr(backend, "devices_of_others", ask)
    backend.report = {"vcpus": 8}
    operator.post(f"/resources/nodes/{node.id}/refresh")
    drain(ignore_waits=True)
    assert len(backend.probed) == 2
    node.refresh_from_db()
    assert node.cap_vcpus == 8


def test_a_refresh_that_waited_asks_no_lost_node(backend, say, operator, node):
    operator.post(f"/resources/nodes/{node.id}/refresh")
    Node.objects.update(lost=True)
    drain()
    assert backend.probed == []


def test_a_refresh_ends_with_the_other_tasks(backend, say, operator, node):
    operator.post(f"/resources/nodes/{node.id}/refresh")
    say(lost=True)
    assert Task.objects.get().outcome["reason"] == "lost"


def test_a_look_that_was_asked_for_otherwise_ends_no_comparison(backend, say, forgotten, node):
    """As of its bridges. A sweep is to see its domains first: `nodes check` tells of them then."""
    Node.objects.update(strays={"foreign": ["somebodys"]})
    say(lost=False)
    say(untaggedBridge="br1")
    drain()
    assert len(backend.asked) == 1
    assert say(enabled=True).status_code == 409


def test_it_says_why_it_cannot_be_looked_at(backend, say, forgotten, node):
    say(lost=False)
    backend.faults["devices_of_others"] = Refused("Out of memory.")
    sweep_all()
    drain()
    assert next(strays.sentences(node)).endswith("The last try failed: Out of memory.")


def test_a_vm_that_is_forgotten_as_the_node_is_taken_back_is_not(backend, say, vm, monkeypatch):
    say(lost=True)
    real = holdings.give_back

    def taken_back(vm):
        real(vm)
        Node.objects.update(lost=False)

    with monkeypatch.context() as patched:
        patched.setattr(holdings, "give_back", taken_back)
        with pytest.raises(Conflict):
            actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    vm.refresh_from_db()
    assert vm.deleted_at is None
    assert Claim.objects.filter(vm_id=vm.id).exists()


def test_a_node_that_is_taken_back_before_it_is_looked_at_cannot_be_enabled_beside_that(
    backend, say, operator, node, monkeypatch
):
    """What is read first is not what counts."""
    real = node_actions.find_node

    def read_and_then_lost_and_back(node_id):
        read = real(node_id)
        Node.objects.filter(pk=node.pk).update(to_compare=True)
        return read

    Node.objects.update(enabled=False)
    monkeypatch.setattr(node_actions, "find_node", read_and_then_lost_and_back)
    assert say(enabled=True).status_code == 409
    assert not Node.objects.get(pk=node.pk).enabled


def test_vms_that_had_one_address_after_the_other_are_both_forgotten(backend, say, forgotten, node):
    Node.objects.update(lost=False, enabled=True)
    other = VirtualMachineFactory(node=node, status=Status.ERROR, config={"networkConfig": static_network(ADDRESS)})
    Node.objects.update(lost=True)
    actions.forget(Actor.of(OperatorFactory(), via="api"), other.id)
    assert say(lost=False).status_code == 200
    with pytest.raises(Conflict, match=TAKEN):
        take()


def test_of_a_vm_that_was_never_deployed_nothing_is_held(backend, say, node):
    vm = VirtualMachineFactory(node=node, config={"networkConfig": static_network(ADDRESS)})
    say(lost=True)
    actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    say(lost=False)
    take()


def test_a_gpu_of_that_name_of_another_node_is_free(backend, say, forgotten):
    other = GpuFactory(device_id="GPU-1")
    say(lost=False)
    assert gpus_of_strays() == [("GPU-1", f"vm-{forgotten.id}")]
    other.refresh_from_db()
    assert other.stray_domain == ""


def test_the_board_of_a_mig_instance_is_given_to_none(backend, say, node):
    gpu = {"enabled": True, "mode": "mig", "migProfile": "1g.5gb"}
    vm = VirtualMachineFactory(node=node, status=Status.RUNNING, config={"gpuConfig": gpu})
    say(lost=True)
    actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    say(lost=False)
    assert gpus_of_strays() == [("GPU-0", f"vm-{vm.id}")]


def test_one_that_is_taken_back_meanwhile_is_not_buried(backend, say, vm, node):
    deploying = VirtualMachineFactory(node=node)
    actions.start(Actor.of(OperatorFactory(), via="api"), deploying.id)
    Node.objects.update(lost=True)
    stale = Node.objects.get(pk=node.pk)
    Node.objects.update(lost=False)
    bury(stale)
    vm.refresh_from_db()
    assert vm.status == Status.RUNNING
    assert Task.objects.get().is_open


@pytest.mark.django_db(transaction=True)
@ONE_WRITES
def test_what_others_do_to_a_vm_as_it_is_buried_stands(backend, node, vm):
    other = VirtualMachineFactory(node=node, status=Status.RUNNING)
    Node.objects.update(lost=True)
    stops = {"node_id": node.id, "org_id": None, "created_by": None, "payload": {"from": "running"}}

    def change():
        task = enqueue("vm-stop", subject_id=vm.id, **stops)
        VirtualMachine.objects.filter(pk=vm.pk).update(task=task, status=Status.STOPPING)
        VirtualMachine.objects.filter(pk=other.pk).update(deployed=False, deleted_at=timezone.now())

    assert beside(change, lambda: reconcile._bury_some(node, "is marked lost"))
    assert set(VirtualMachine.objects.values_list("status", flat=True)) == {Status.STOPPING, Status.RUNNING}
    assert not LogEntry.objects.filter(level="error").exists()


@pytest.mark.django_db(transaction=True)
@ONE_WRITES
def test_two_that_bury_at_once_say_it_once(backend, node, vm):
    Node.objects.update(lost=True)
    assert beside(*[lambda: reconcile._bury_some(node, "is marked lost")] * 2)
    assert LogEntry.objects.filter(level="error").count() == 1


def test_a_task_that_this_release_does_not_know_is_let_be(backend, vm, node):
    task = Task.objects.create(type="of-another-release", subject_id=vm.id, node_id=node.id, payload={})
    Node.objects.update(lost=True)
    sweep_all()
    vm.refresh_from_db()
    task.refresh_from_db()
    assert (vm.status, task.is_open) == (Status.ERROR, True)


def test_one_lost_node_that_cannot_be_buried_hides_no_other(backend, vm, node, monkeypatch, caplog):
    def fails(node):
        raise RuntimeError("no such luck")

    other = NodeFactory(online=False)
    Node.objects.filter(pk=node.pk).update(lost=True)
    monkeypatch.setattr(reconcile, "bury", fails)
    sweep_all()
    assert "no such luck" in caplog.text
    other.refresh_from_db()
    assert other.online


def test_what_would_take_long_is_left_to_the_next_sweep(backend, node, vm):
    deploying = VirtualMachineFactory(node=node)
    actions.start(Actor.of(OperatorFactory(), via="api"), deploying.id)
    Node.objects.update(lost=True)
    bury(node, seconds=-1)
    assert (Task.objects.get().is_open, VirtualMachine.objects.get(pk=vm.pk).status) == (True, Status.RUNNING)
    sweep_all()
    assert not Task.objects.get().is_open


def test_a_sweep_that_began_before_it_was_lost_once_more_ends_no_comparison(backend, say, forgotten, node):
    say(lost=False)
    stale = Node.objects.get(pk=node.pk)
    say(lost=True)
    say(lost=False)
    note(stale, Observation("boot", {}))
    drain()
    assert say(enabled=True).status_code == 409
    sweep_all()
    drain()
    assert say(enabled=True).status_code == 200


def test_a_gpu_that_is_listed_anew_is_held_as_before(backend, say, forgotten, node):
    say(lost=False)
    body = {"deviceId": "GPU-1", "model": "NVIDIA A100-PCIE-40GB", "memoryMB": 40960, "pciAddress": "0000:10:00.0"}
    say(gpus=[])
    assert gpus_of_strays() == []
    say(gpus=[{**body, "use": "either"}])
    assert gpus_of_strays() == [("GPU-1", f"vm-{forgotten.id}")]


def test_a_forgotten_vm_that_cannot_be_read_any_more_keeps_no_node_lost(backend, say, forgotten, node):
    VirtualMachine.objects.filter(pk=forgotten.pk).update(config_json='{"type": "of-an-older-release"}')
    assert say(lost=False).status_code == 200
    assert gpus_of_strays() == [("GPU-1", f"vm-{forgotten.id}")]
    assert say(lost=True).status_code == 200
    assert gpus_of_strays() == []


def test_many_vms_are_buried_in_few_statements(backend, vm, node, monkeypatch, django_assert_max_num_queries):
    small = {"vcpus": 1, "ramMB": 1024, "diskGB": 10}
    vms = [vm, *(VirtualMachineFactory(node=node, status=Status.RUNNING, config=small) for _ in range(6))]
    for number, each in enumerate(vms):
        ConsoleToken.objects.create(vm=each, digest=str(number), user_id=vm.owner_id, expires_at=timezone.now())
    Node.objects.update(lost=True)
    node.refresh_from_db()
    monkeypatch.setattr(reconcile, "_AT_ONCE", 4)
    with django_assert_max_num_queries(1 + 3 * 7):
        bury(node)
    assert set(VirtualMachine.objects.values_list("status", "error_reason")) == {("error", "node_lost")}
    entries = LogEntry.objects.filter(level="error", message__contains="is marked lost")
    assert sorted(entries.values_list("vm_id", flat=True)) == sorted(each.id for each in vms)
    assert not ConsoleToken.objects.exists()
    bury(node)
    assert entries.count() == len(vms)


def test_vms_that_were_forgotten_before_it_was_noted_are_found_in_the_trail(backend, say, forgotten, node):
    Node.objects.update(lost=False, enabled=True)
    other = VirtualMachineFactory(node=node, status=Status.STOPPED)
    Node.objects.update(lost=True)
    VirtualMachine.objects.filter(pk=other.pk).update(deployed=False, deleted_at=timezone.now())
    VirtualMachine.objects.update(forgotten=False)
    migration = importlib.import_module("resources.migrations.0007_forgotten_vms")
    migration.mark_those_of_lost_nodes(apps, None)
    assert list(VirtualMachine.objects.filter(forgotten=True)) == [forgotten]
    Node.objects.update(lost=False)
    VirtualMachine.objects.update(forgotten=False)
    migration.mark_those_of_lost_nodes(apps, None)
    assert not VirtualMachine.objects.filter(forgotten=True).exists()


def test_a_look_at_one_that_was_never_lost_changes_no_more_than_before(backend, node):
    sweep_all()
    drain()
    assert not Task.objects.exists()


class RealBackend(KeepingBackend):
    """One whose nodes are machines, on which there may be domains."""

    def __init__(self, **options):
        super().__init__(**options)
        self.capabilities = Capabilities()


@pytest.fixture
def real():
    with override_settings(VM_BACKEND={"BACKEND": f"{__name__}.RealBackend", "OPTIONS": {}}):
        yield get_backend()


def added(operator, **changes):
    body = bodies.node(gpus=[], osImages=["ubuntu-22.04"], **changes)
    answer = operator.post("/resources/nodes", body, format="json")
    assert answer.status_code == 201
    return Node.objects.get(pk=answer.json()["_id"])


def create(client, node):
    return client.post("/resources", create_body(node), format="json")


def test_a_node_that_is_added_takes_new_vms_when_it_was_looked_at(real, operator, client_of):
    """A node of before may have left domains there, with addresses that would be given twice."""
    node, client = added(operator), client_of(UserFactory())
    real.addresses = {(100, ADDRESS): "vm-of-before"}
    answer = create(client, node)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"{node.name} takes new VMs when a worker has looked at it")
    sweep_all()
    drain()
    assert create(client, node).status_code == 201
    assert StrayAddress.objects.get().domain == "vm-of-before"


def test_one_that_is_given_another_uri_is_looked_at_anew(real, operator, node, client_of):
    path = f"/resources/nodes/{node.id}"
    for uri, code in (("qemu+tls://elsewhere/system", 409), ("qemu+tls://elsewhere/system?pkipath=/k", 409)):
        assert operator.patch(path, {"uri": uri}, format="json").status_code == 200
        assert create(client_of(UserFactory()), node).status_code == code
        sweep_all()
        drain()
        assert create(client_of(UserFactory()), node).status_code == 201


def test_a_uri_that_comes_later_or_is_taken_away_spares_no_look(real, operator, client_of):
    node, client = added(operator, uri=None), client_of(UserFactory())
    assert create(client, node).status_code == 409
    path = f"/resources/nodes/{node.id}"
    for uri in ("qemu+tls://elsewhere/system", None):
        assert operator.patch(path, {"uri": uri}, format="json").status_code == 200
        assert create(client, node).status_code == 409


def test_a_node_that_was_not_looked_at_yet_can_be_changed_with_all_that_a_form_sends(real, operator, client_of):
    """Its URI may be wrong, so that nobody ever could."""
    node = added(operator, uri="qemu+tls://wrong/system")
    path = f"/resources/nodes/{node.id}"
    body = {"enabled": True, "uri": "qemu+tls://right/system"}
    assert operator.patch(path, body, format="json").status_code == 200
    assert operator.get(path).json()["status"] == "maintenance"
    sweep_all()
    drain()
    assert operator.get(path).json()["status"] == "online"


def test_what_a_form_sends_beside_the_end_of_enabled_is_not_taken_for_a_word(real, operator, node, monkeypatch):
    """It was read as enabled, and another has put it in maintenance since."""
    read = node_actions.find_node(node.id)
    Node.objects.update(enabled=False)
    monkeypatch.setattr(node_actions, "find_node", lambda _: read)
    answer = operator.patch(f"/resources/nodes/{node.id}", {"enabled": True, "hostname": "h"}, format="json")
    assert answer.status_code == 409


def test_a_lost_node_holds_nothing_whatever_is_changed_of_it(real, operator, say, forgotten, node):
    assert say(uri="qemu+tls://elsewhere/system").status_code == 200
    assert say(gpus=[]).status_code == 200
    take()
    assert list(strays.sentences(node)) == []
    assert say(lost=False).json()["status"] == "maintenance"
    with pytest.raises(Conflict, match=TAKEN):
        take()


def test_a_mock_has_no_domains_but_its_own(backend, operator, client_of):
    assert create(client_of(UserFactory()), added(operator)).status_code == 201


def test_others_may_not_say_it(client_of, node):
    assert client_of(UserFactory()).patch(f"/resources/nodes/{node.id}", {"lost": True}).status_code == 403
    assert not Node.objects.get().lost
