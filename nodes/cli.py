"""Which node a command means."""

from django.core.management.base import CommandError
from django.db.models import Q

from nodes.models import Node


def find_node(reference: str) -> Node:
    """By its id or its name."""
    node = Node.objects.filter(Q(pk=reference) | Q(name=reference)).first()
    if node is None:
        names = ", ".join(Node.objects.values_list("name", flat=True)[:20]) or "none"
        raise CommandError(f"There is no node {reference!r}. There are: {names}.")
    return node
