import pytest

from common.errors import Conflict
from nodes import room
from nodes.models import Node
from nodes.room import Room
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


def used(node: Node) -> Room:
    return room.allocated(Node.objects.get(pk=node.pk))


def small(**columns):
    return NodeFactory(**{"name": "worker-02", "cap_vcpus": 10, "cap_ram_mb": 1000, "cap_disk_gb": 100, **columns})


def test_it_adds_and_takes_away():
    assert Room(1, 2, 3) + Room(4, 5, 6) == Room(5, 7, 9)
    assert Room(4, 5, 6) - Room(1, 2, 3) == Room(3, 3, 3)


def test_it_promises_all_there_is_and_no_more():
    node = small()
    room.reserve(node.id, Room(10, 1000, 100))
    assert used(node) == Room(10, 1000, 100)
    with pytest.raises(Conflict):
        room.reserve(node.id, Room(1, 0, 0))
    room.give_back(node.id, Room(10, 1000, 100))
    assert used(node) == Room()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Room(200, 1, 1), "worker-02 has no room for it: 200 vCPUs requested, 8 free."),
        (Room(1, 1001, 1), "worker-02 has no room for it: 1001 MB of RAM requested, 900 free."),
        (
            Room(9, 1, 100),
            "worker-02 has no room for it: 9 vCPUs requested, 8 free; 100 GB of disk requested, 90 free.",
        ),
    ],
)
def test_it_names_what_is_short_and_takes_nothing(wanted, message):
    node = small()
    room.reserve(node.id, Room(2, 100, 10))
    with pytest.raises(Conflict) as refused:
        room.reserve(node.id, wanted)
    assert refused.value.message == f"{message} Ask for less, or choose another node."
    assert used(node) == Room(2, 100, 10)


@pytest.mark.parametrize(("overcommit", "most"), [(2.0, 20), (1.1, 11), (1.15, 11), (0.5, 5), (0.33, 3)])
def test_it_overcommits_vcpus_alone(overcommit, most):
    node = small(vcpu_overcommit=overcommit)
    assert node.vcpu_limit == most
    for _ in range(most):
        room.reserve(node.id, Room(1, 0, 0))
    with pytest.raises(Conflict, match="1 vCPUs requested, 0 free"):
        room.reserve(node.id, Room(1, 0, 0))


@pytest.mark.parametrize(
    ("columns", "word"), [({"enabled": False}, "in maintenance"), ({"lost": True, "enabled": False}, "lost")]
)
def test_it_takes_no_new_vms_in_maintenance_or_lost(columns, word):
    node = small(**columns)
    with pytest.raises(Conflict, match=f"worker-02 is {word} and takes no new VMs"):
        room.reserve(node.id, Room(1, 1, 1))
    room.reserve(node.id, Room(1, 1, 1), new=False)
    room.change(node.id, Room(1, 1, 1), Room(2, 2, 2))
    assert used(node) == Room(2, 2, 2)


def test_what_a_snapshot_lacks_is_not_to_be_had_on_another_node():
    node = small()
    with pytest.raises(Conflict, match=r"101 GB of disk requested, 100 free\. Delete snapshots or VMs .* first\.$"):
        room.reserve(node.id, Room(0, 0, 101), new=False)


def test_it_changes_by_the_difference():
    node = small()
    room.reserve(node.id, Room(8, 800, 80))
    room.change(node.id, Room(8, 800, 80), Room(10, 400, 90))
    assert used(node) == Room(10, 400, 90)
    with pytest.raises(Conflict, match="1 more vCPUs requested, 0 free"):
        room.change(node.id, Room(10, 400, 90), Room(11, 100, 90))
    assert used(node) == Room(10, 400, 90)
    room.change(node.id, Room(10, 400, 90), Room(10, 400, 90))


def test_it_can_shrink_where_more_is_promised_than_there_is():
    node = small()
    room.reserve(node.id, Room(10, 1000, 100))
    Node.objects.filter(pk=node.pk).update(cap_vcpus=4, cap_ram_mb=10, cap_disk_gb=10)
    room.change(node.id, Room(10, 1000, 100), Room(9, 900, 100))
    assert used(node) == Room(9, 900, 100)
    assert room.free(Node.objects.get(pk=node.pk)) == Room()


def test_books_that_say_too_little_are_put_to_zero_and_reported(caplog):
    node = small()
    room.reserve(node.id, Room(2, 100, 10))
    room.give_back(node.id, Room(1, 101, 1))
    assert used(node) == Room(1, 0, 9)
    assert "recount" in caplog.text


def test_what_is_there_already_is_counted_whatever_the_limit():
    node = small()
    room.count(node.id, Room(0, 0, 10**6))
    assert used(node) == Room(0, 0, 10**6)


def test_it_loses_a_race_for_the_last_room(monkeypatch):
    """Both have read that there is room. The second one's update finds that there is none."""
    node = small()
    add = room._add

    def slower(*args):
        Node.objects.filter(pk=node.pk).update(used_vcpus=10)
        return add(*args)

    monkeypatch.setattr(room, "_add", slower)
    with pytest.raises(Conflict, match="1 vCPUs requested, 0 free"):
        room.reserve(node.id, Room(1, 1, 1))


def test_it_takes_nothing_on_a_deleted_node():
    node = small()
    Node.objects.filter(pk=node.pk).update(deleted_at="2025-12-03T10:00:00Z")
    with pytest.raises(Conflict, match="deleted"):
        room.reserve(node.id, Room(1, 1, 1))
