"""One connection to each node that a process works with, kept as long as it lives."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from vmbackends.base import NodeRef, VmSpec
from vmbackends.errors import NodeUnreachable, NotAsked
from vmbackends.libvirt.breaker import Breaker
from vmbackends.libvirt.errors import text_of, translated
from vmbackends.libvirt.link import Link, OnEvent
from vmbackends.libvirt.opening import Opener
from vmbackends.libvirt.options import Options
from vmbackends.libvirt.reach import Silent


class Connections:
    """Safe for threads. What a connection gives must not be used after the `with` that gave it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._nodes: dict[str, _Node] = {}
        _every.add(self)

    @contextmanager
    def at(self, node: NodeRef, what: str, vm: VmSpec | None = None) -> Iterator[libvirt.virConnect]:
        """The node's connection, opened if need be. `what` is to be done with it, as "start the domain".

        Raises NodeUnreachable, NotSupported or Refused, also for each libvirtError raised within. The connection is
        dropped when it broke, and not for what the node refuses.
        """
        place = self._node(node)
        link = place.take(node, what, vm)
        try:
            with translated(node, what, vm, answers=link.is_alive):
                yield link.connection
        finally:
            place.give_back(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        """Call back for each event of a domain's lifecycle, as long as there is a connection to the node.

        It opens none, and is asked again of each new one; what happens between two of them is not told. `callback`
        is called in the thread of the event loop: it must be quick and use no libvirt.
        Raises what `at` does, of an open connection; then nothing is subscribed.
        """
        self._node(node).subscribe(node, callback)

    def close(self) -> None:
        """Let go of all connections, each when nobody uses it any more, and of all subscriptions."""
        with self._lock:
            nodes, self._nodes = self._nodes, {}
        for place in nodes.values():
            place.close()

    def _node(self, node: NodeRef) -> "_Node":
        with self._lock:
            if node.id not in self._nodes:
                self._nodes[node.id] = _Node(self._options)
            return self._nodes[node.id]

    def _disown(self) -> None:
        for place in self._nodes.values():
            place.disown()
        self._nodes = {}
        self._lock = threading.Lock()  # a thread that is not in this process may have held the other


class _Node:
    """What is kept of one node."""

    def __init__(self, options: Options) -> None:
        self._options = options
        # Held while a connection is opened, so that two threads do not open two.
        self._opening = threading.Lock()
        # Held for moments, so that no call waits for an attempt to connect in order to end.
        self._counting = threading.Lock()
        self._link: Link | None = None
        self._callbacks: list[OnEvent] = []
        self._reason = ""
        self._is_at("")

    def _is_at(self, uri: str) -> None:
        """Another address is another machine, as far as one knows."""
        self._uri = uri
        self._breaker = Breaker(self._options.first_backoff_s, self._options.longest_backoff_s)
        self._opener = Opener(self._options)

    def take(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link:
        with self._opening:
            while True:
                link = self._living(node) or self._open(node, what, vm)
                with self._counting:
                    if not link.dropped:  # by somebody who gave it back just now
                        link.users += 1
                        return link

    def give_back(self, link: Link) -> None:
        alive = link.is_alive()
        with self._counting:
            link.users -= 1
            link.dropped = link.dropped or not alive
        self._end_if_done(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        with self._opening:
            link = self._living(node)
            if link:
                with translated(node, "watch its domains", answers=link.is_alive):
                    link.subscribe(callback)
            self._callbacks.append(callback)

    def close(self) -> None:
        with self._opening:
            self._callbacks = []
            if self._link:
                self._drop(self._link)

    def disown(self) -> None:
        if self._link:
            self._link.disown()

    def _living(self, node: NodeRef) -> Link | None:
        link = self._link
        if link and (link.dropped or link.uri != node.uri or not link.is_alive()):
            self._drop(link)
        return self._link

    def _open(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link:
        if self._uri != node.uri:
            self._is_at(node.uri)
        wait_s = self._breaker.admit()
        if wait_s:
            raise NotAsked(
                f"Node {node.name} cannot be reached to {what}: {self._reason}. "
                f"It is not asked again for {max(wait_s, 1):.0f} s."
            )
        try:
            link = self._opened(node, what, vm)
        except NodeUnreachable:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        self._link = link
        return link

    def _opened(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link:
        try:
            with translated(node, what, vm, answers=_nobody):
                return self._opener.open(node.uri, self._callbacks)
        except Silent as e:
            self._reason = str(e)
            advice = "Check that it is on and runs libvirt"
            raise NodeUnreachable(f"Node {node.name} cannot be reached to {what}: {e}. {advice}.") from e
        except NodeUnreachable as e:
            if isinstance(e.__cause__, libvirt.libvirtError):
                self._reason = text_of(e.__cause__, node)
            raise

    def _drop(self, link: Link) -> None:
        with self._counting:
            link.dropped = True
        if self._link is link:
            self._link = None
        self._end_if_done(link)

    def _end_if_done(self, link: Link) -> None:
        """A call in another thread must not lose the connection under its feet."""
        with self._counting:
            if link.users or not link.dropped or link.ended:
                return
            link.ended = True
        threading.Thread(target=link.end, name="libvirt-close", daemon=True).start()


def _nobody() -> bool:
    return False


_every: "weakref.WeakSet[Connections]" = weakref.WeakSet()


def _disown_all() -> None:
    for connections in _every:
        connections._disown()


os.register_at_fork(after_in_child=_disown_all)
