"""A node that is marked lost, what is left alone of it, and what is given to nobody when it is back."""

import pytest

from accounts.actors import Actor
from common.errors import Conflict
from nodes import claims, lost, strays
from nodes.models import Claim, Gpu, Node, StrayAddress
from resources import actions
from resources.reconcile import sweep_all
from resources.recount import recount
from resources.states import Status
from tasks.models import Task, TaskStatus
from tasks.worker import drain
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory, static_network
from tests.nodes.keeping import keeping
from vmbackends.errors import NodeUnreachable

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
    assert recount() == []
    answer = say(enabled=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "its domains have not been looked at since" in answer.json()["detail"]

    backend.addresses = {(100, ADDRESS): domain}
    sweep_all()
    drain()
    assert say(enabled=True).json()["status"] == "online"
    assert list(strays.sentences(node)) == [
        f"Addresses that are given to no VM while such domains have them: {ADDRESS} of VLAN 100 ({domain})."
    ]
    assert gpus_of_strays() == []


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
    assert f"{ADDRESS} of VLAN 100 is the address of the VM {other.id}, and of" in list(strays.sentences(node))[-1]


def test_lost_once_more_it_is_looked_at_once_more(backend, say, forgotten):
    for _ in range(2):
        say(lost=False)
        assert say(enabled=True).status_code == 409
        sweep_all()
        drain()
        assert say(enabled=True).status_code == 200
        say(lost=True)


def test_a_look_at_one_that_was_never_lost_changes_no_more_than_before(backend, node):
    sweep_all()
    drain()
    assert not Task.objects.exists()


def test_others_may_not_say_it(client_of, node):
    assert client_of(UserFactory()).patch(f"/resources/nodes/{node.id}", {"lost": True}).status_code == 403
    assert not Node.objects.get().lost
