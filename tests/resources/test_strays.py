"""What a node has and no VM or image accounts for is told, and let be."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.actors import Actor
from nodes.strays import sentences, summary
from resources import actions, strays
from resources.models import VirtualMachine
from tasks.models import Task, TaskStatus
from tasks.queue import enqueue
from tests.factories import GpuFactory, ImageFactory, NodeFactory, OperatorFactory, VirtualMachineFactory
from vmbackends.base import Observation

pytestmark = pytest.mark.django_db

NOBODY = "692cdc80aabbccddee000001"


@pytest.fixture
def node():
    return NodeFactory()


def strays_of(node, *, foreign=(), images=(), **unasked):
    found = {vm_id.removeprefix("vm"): names for vm_id, names in unasked.items()}
    strays.note(node, Observation("boot", {}, foreign=foreign, unasked=found, images=images))
    node.refresh_from_db()
    return node.strays


def long_settled(vm):
    VirtualMachine.objects.filter(pk=vm.pk).update(updated_at=timezone.now() - timedelta(hours=1))


def test_nothing_is_told_of_a_node_in_order(node):
    assert strays_of(node) == {}


def test_foreign_domains_are_told(node):
    assert strays_of(node, foreign=("somebodys",)) == {"foreign": ["somebodys"]}
    assert strays_of(node) == {}


def test_what_is_named_as_of_a_vm_that_is_not_there_is_an_orphan(node):
    names = (f"vm-{NOBODY}", f"vm-{NOBODY}.qcow2")
    assert strays_of(node, **{f"vm{NOBODY}": names}) == {"orphans": {NOBODY: list(names)}}


def test_a_vm_that_is_there_accounts_for_its_own_also_while_it_is_being_deleted(node):
    vm = VirtualMachineFactory(node=node, status="stopped")
    long_settled(vm)
    VirtualMachine.objects.filter(pk=vm.pk).update(deployed=True, deleted_at=timezone.now())
    assert strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}",)}) == {}


def test_what_is_of_a_vm_that_is_on_another_node_is_no_orphan(node):
    """Both may be one hypervisor: its domain is never to be removed as nobody's."""
    vms = [VirtualMachineFactory(node=other, status="stopped") for other in (NodeFactory(name="worker-02"),) * 2]
    names = {vm.id: [f"vm-{vm.id}", f"vm-{vm.id}.qcow2"] for vm in vms}
    found = strays_of(node, **{f"vm{vm_id}": tuple(named) for vm_id, named in names.items()})
    assert found == {"elsewhere": {"worker-02": names}}
    assert summary(node) == ["4 of other nodes"]
    (sentence,) = sentences(node)
    assert sentence.startswith(f"vm-{vms[0].id}, ")
    assert "of 2 VMs that are on worker-02. Never remove them here before" in sentence
    assert "virsh" not in sentence

    volumes = {vm_id: [named[1]] for vm_id, named in names.items()}
    strays.note(node, Observation("boot", {}, unasked={}, volumes_seen=False))
    node.refresh_from_db()
    assert node.strays == {"elsewhere": {"worker-02": volumes}}


def test_a_vm_that_was_never_deployed_on_another_node_is_nowhere(node):
    vm = VirtualMachineFactory(status="failed")
    long_settled(vm)
    assert "orphans" in strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}",)})


def test_domains_of_vms_of_other_nodes_are_looked_at_for_what_they_have(node):
    vm = VirtualMachineFactory(status="stopped")
    strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}.qcow2",)})
    assert not Task.objects.exists()
    strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}", f"vm-{vm.id}.qcow2")})
    assert Task.objects.count() == 1


def test_no_more_than_a_hundred_of_another_node_are_told(node):
    other, first = NodeFactory(name="worker-02"), {}
    for _ in range(strays.MOST + 1):
        vm = VirtualMachineFactory(node=other, status="stopped", config={"vcpus": 1, "ramMB": 1024, "diskGB": 10})
        first[f"vm{vm.id}"] = (f"vm-{vm.id}",)
    found = strays_of(node, **first)
    assert len(found["elsewhere"]["worker-02"]) == strays.MOST
    assert set(found) == {"elsewhere", "cut"}


def test_a_vm_whose_disk_is_gone_is_told(node):
    vm, young, elsewhere = (VirtualMachineFactory(node=at, status="stopped") for at in (node, node, NodeFactory()))
    for each in (vm, elsewhere):
        long_settled(each)
    seen = Observation("boot", {}, diskless=(vm.id, young.id, elsewhere.id))
    strays.note(node, seen)
    node.refresh_from_db()
    assert node.strays == {"diskless": [vm.id]}
    assert summary(node) == ["1 without a disk"]
    assert list(sentences(node)) == [
        f"The disk of the VM {vm.id} is gone from the pool aiwm. See that what the pool is on is mounted; put the disk "
        "back from a backup, or delete the VM."
    ]
    strays.note(node, Observation("boot", {}, volumes_seen=False))
    node.refresh_from_db()
    assert node.strays == {"diskless": [vm.id]}
    long_settled(young)
    strays.note(node, seen)
    node.refresh_from_db()
    assert next(sentences(node)).startswith(f"The disks of the VMs {vm.id}, {young.id} are gone")
    VirtualMachine.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    strays.note(node, seen)
    assert node.strays == {"diskless": [young.id]}
    VirtualMachine.objects.filter(pk=young.pk).update(task=enqueue(
        "vm-start", subject_id=young.id, node_id=node.id, org_id=None, created_by=None
    ))  # fmt: skip
    strays.note(node, seen)
    assert node.strays == {}


def test_a_vm_that_was_forgotten_accounts_for_nothing_from_that_moment_on(node):
    vm = VirtualMachineFactory(node=node, status="error")
    node.lost = True
    node.save()
    actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    assert "orphans" in strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}",)})


def test_one_that_has_just_let_go_is_not_blamed_for_what_was_seen_before(node):
    vm = VirtualMachineFactory(node=node, status="queued")
    VirtualMachine.objects.filter(pk=vm.pk).update(deployed=False, updated_at=timezone.now())
    assert strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}",)}) == {}
    long_settled(vm)
    assert "orphans" in strays_of(node, **{f"vm{vm.id}": (f"vm-{vm.id}",)})


def test_an_image_that_is_not_kept_any_more_is_told(node):
    kept, old = ImageFactory().volume, "image-debian-12-0123456789ab.qcow2"
    assert strays_of(node, images=(old, kept)) == {"images": [old]}
    assert strays_of(node, images=(kept,)) == {}


def test_other_domains_are_looked_at_for_gpus_and_other_volumes_are_not(node):
    GpuFactory(node=node)
    strays_of(node, foreign=("somebodys",))
    assert [task.subject_id for task in Task.objects.all()] == [node.id]
    Task.objects.update(status=TaskStatus.RUNNING)
    strays_of(node, foreign=("somebodys",), **{f"vm{NOBODY}": (f"vm-{NOBODY}.qcow2",)})
    assert Task.objects.count() == 1
    strays_of(node, foreign=("somebodys",), **{f"vm{NOBODY}": (f"vm-{NOBODY}", f"vm-{NOBODY}.qcow2")})
    assert Task.objects.count() == 2
    strays_of(node)
    assert Task.objects.count() == 2  # the one that waits will see this as well


def test_of_volumes_that_cannot_be_seen_the_last_word_is_kept(node):
    image, named = "image-debian-12-0123456789ab.qcow2", (f"vm-{NOBODY}", f"vm-{NOBODY}.qcow2")
    before = strays_of(node, images=(image,), **{f"vm{NOBODY}": named})

    def without_volumes(**unasked):
        strays.note(node, Observation("boot", {}, unasked=unasked, volumes_seen=False, faults=("No pool.",)))
        node.refresh_from_db()
        return node.strays

    assert without_volumes(**{NOBODY: named[:1]}) == {**before, "unseen": ["No pool."]}
    assert without_volumes() == {**before, "orphans": {NOBODY: [named[1]]}, "unseen": ["No pool."]}
    assert strays_of(node) == {}


def test_what_cannot_be_seen_is_told(node, caplog):
    strays.note_unseen(node, "Out of memory.")
    strays.note_unseen(node, "Out of memory.")
    assert [record.reason for record in caplog.records] == ["Out of memory."]
    assert summary(node) == ["not all seen"]


def test_no_more_than_a_hundred_are_told_and_those_beyond_are_looked_at_as_well(node):
    GpuFactory(node=node)
    names = tuple(f"theirs-{n:03}" for n in range(strays.MOST))
    strays_of(node, foreign=names)
    Task.objects.update(status=TaskStatus.SUCCEEDED)
    told = strays_of(node, foreign=(*names, "theirs-of-101"))
    assert (told["foreign"], Task.objects.count()) == (list(names), 2)
    Task.objects.update(status=TaskStatus.SUCCEEDED)
    strays_of(node, foreign=(*names, "theirs-of-102"))
    assert Task.objects.count() == 3
    strays_of(node, foreign=names)
    assert node.strays == {"foreign": list(names)}


def test_news_alone_is_written(node, django_assert_num_queries, caplog):
    strays_of(node, foreign=("somebodys",))
    assert "no VM or image accounts for" in caplog.text
    with django_assert_num_queries(0):
        strays.note(node, Observation("boot", {}, foreign=("somebodys",)))
