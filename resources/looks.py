"""Asking many nodes at once, so that one that does not answer holds up no other.

A call that hangs in C can be ended by nobody. Each is made in a daemon thread of its own, which is left behind when it
takes too long; a node whose thread still hangs is not asked again. The database stays with the caller's thread.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Generic, TypeVar

from nodes.models import Node
from tasks import pulse
from vmbackends.errors import BackendError, NodeUnreachable, NotAsked

log = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE = 16


class Looks(Generic[T]):
    """Calls by the ids of the nodes that they ask."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._hanging: set[str] = set()
        self._lock = threading.Lock()

    def all(self, calls: Mapping[str, Callable[[], T]]) -> Iterator[tuple[str, T | Exception]]:
        """The answer or error of each, as they come in; NodeUnreachable for those that are not here in time."""
        answers: queue.Queue[tuple[str, T | Exception]] = queue.Queue()
        waiting = dict(calls)
        begun: dict[str, float] = {}
        while waiting or begun:
            while waiting and len(begun) < AT_ONCE:
                node_id = next(iter(waiting))
                call = waiting.pop(node_id)
                if self._begin(node_id, call, answers):
                    begun[node_id] = time.monotonic()
                else:
                    yield node_id, NotAsked("An earlier call to it hangs still.")
            if not begun:
                continue
            try:
                node_id, answer = answers.get(timeout=self._left(begun))
            except queue.Empty:
                slowest = min(begun, key=lambda node_id: begun[node_id])
                del begun[slowest]
                yield slowest, _too_slow(f"It did not answer within {self._limit_s:g} s")
                continue
            if begun.pop(node_id, None) is not None:  # else it was given up before
                yield node_id, answer

    def good(self, calls: Mapping[str, Callable[[], T]], nodes: Mapping[str, Node], failing: str) -> Iterator[T]:
        """The answers alone. Of an error the log says `failing`, the node and why."""
        for node_id, answer in self.all(calls):
            about = {"node": nodes[node_id].name}
            if isinstance(answer, BackendError):
                log.warning(failing, extra={**about, "reason": answer.message})
            elif isinstance(answer, Exception):
                log.error(failing, extra=about, exc_info=answer)
            else:
                yield answer
            pulse.beat()

    def _left(self, begun: Mapping[str, float]) -> float:
        return max(0.001, min(begun.values()) + self._limit_s - time.monotonic())

    def _begin(self, node_id: str, call: Callable[[], T], answers: "queue.Queue[tuple[str, T | Exception]]") -> bool:
        with self._lock:
            if node_id in self._hanging:
                return False
            self._hanging.add(node_id)

        def run() -> None:
            answer: T | Exception
            try:
                answer = call()
            except Exception as e:  # noqa: BLE001 - it is handed on to whoever asked
                answer = e
            with self._lock:
                self._hanging.discard(node_id)
            answers.put((node_id, answer))

        threading.Thread(target=run, name=f"look at {node_id}", daemon=True).start()
        return True


class Noticed:
    """Nodes that have told of a change, for the worker of this process to look at. Safe to use from any thread."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._taken: dict[str, float] = {}

    def add(self, node_id: str) -> None:
        with self._lock:
            self._waiting.add(node_id)
        pulse.wake()

    def take(self) -> set[str]:
        """Those that were not taken just before; the others stay for a later call."""
        now = time.monotonic()
        with self._lock:
            due = {node_id for node_id in self._waiting if now - self._taken.get(node_id, -inf) >= self._pause_s}
            self._waiting -= due
            self._taken |= dict.fromkeys(due, now)
        return due


def _too_slow(why: str) -> NodeUnreachable:
    return NodeUnreachable(f"{why}.")
