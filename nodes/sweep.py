"""What a look at a node says of the node itself. Two that look at once never undo each other's newer word."""

from django.utils import timezone

from nodes.models import Node


def mark_seen(node: Node, boot_id: str) -> bool:
    """The node answered. Gives whether it was booted anew since `node` was read, to one caller alone.

    With an empty `boot_id`, for one that cannot be read, the one that was read last is kept; so it is where another
    has written one since, for this look may be the older.
    """
    seen = {"online": True, "last_seen": timezone.now()}
    nodes = Node.objects.filter(pk=node.pk)
    if boot_id and nodes.filter(boot_id=node.boot_id).update(boot_id=boot_id, **seen):
        return node.boot_id not in ("", boot_id)
    nodes.update(**seen)
    return False


def mark_unseen(node: Node) -> bool:
    """The node did not answer. Gives whether that is news; nothing changes where it was seen since `node` was read."""
    nodes = Node.objects.filter(pk=node.pk, online=True)
    if node.last_seen is not None:
        nodes = nodes.filter(last_seen__lte=node.last_seen)
    return nodes.update(online=False) == 1
