"""Threads for calls that may hang, so that who needs the answer can go on without it."""

import threading
from collections.abc import Callable

from vmbackends.base import NodeRef
from vmbackends.errors import NotAsked


def begin(node: NodeRef, name: str, target: Callable[..., None], *arguments: object) -> None:
    """Call it in a thread of its own, which does not keep the process from ending. Raises NotAsked where this machine
    gives no thread more."""
    try:
        threading.Thread(target=target, args=arguments, name=name, daemon=True).start()
    except RuntimeError as e:
        raise NotAsked(f"Node {node.name} was not asked: {e} on the worker's machine.", busy=True) from e
