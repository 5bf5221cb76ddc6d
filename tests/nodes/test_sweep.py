from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from nodes import sweep
from nodes.models import Node, unreachable_node_ids
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


def again(node: Node) -> Node:
    return Node.objects.get(pk=node.pk)


def test_it_marks_a_node_seen():
    node = NodeFactory(online=False, last_seen=None)
    with time_machine.travel("2025-12-03T10:00:00Z", tick=False):
        assert sweep.mark_seen(node, "boot-1") is False
        assert again(node).last_seen == timezone.now()
    assert again(node).status == "online"
    assert again(node).boot_id == "boot-1"
    assert unreachable_node_ids() == set()


def test_a_boot_id_that_cannot_be_read_is_no_reboot_and_the_last_one_is_kept():
    node = NodeFactory(boot_id="boot-1", online=False)
    assert sweep.mark_seen(node, "") is False
    assert (again(node).boot_id, again(node).online) == ("boot-1", True)


def test_it_tells_one_caller_alone_of_a_reboot():
    node = NodeFactory(boot_id="boot-1")
    assert sweep.mark_seen(node, "boot-1") is False
    assert sweep.mark_seen(node, "boot-2") is True
    assert sweep.mark_seen(node, "boot-2") is False  # `node` is as it was read before both
    assert again(node).boot_id == "boot-2"


def test_a_look_that_began_before_another_does_not_undo_what_that_one_saw():
    node = NodeFactory(boot_id="boot-1", online=False)
    assert sweep.mark_seen(again(node), "boot-2") is True
    assert sweep.mark_seen(node, "boot-1") is False
    assert (again(node).boot_id, again(node).online) == ("boot-2", True)


def test_it_marks_a_node_unseen_once():
    node = NodeFactory()
    assert sweep.mark_unseen(node) is True
    assert sweep.mark_unseen(node) is False
    assert again(node).status == "offline"
    assert unreachable_node_ids() == {node.id}


def test_it_marks_a_node_unseen_that_has_no_time_yet():
    node = NodeFactory(last_seen=None)
    assert sweep.mark_unseen(node) is True


def test_it_does_not_undo_what_another_saw_later():
    node = again(NodeFactory(last_seen=timezone.now() - timedelta(minutes=1)))
    sweep.mark_seen(again(node), "boot-1")
    assert sweep.mark_unseen(node) is False
    assert again(node).online


def test_it_keeps_maintenance_and_lost():
    assert NodeFactory(enabled=False).status == "maintenance"
    assert NodeFactory(lost=True, enabled=False).status == "lost"
