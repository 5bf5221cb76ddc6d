"""The connections to nodes that a process works with, kept as long as they live.

One to a node would do but for three things. libvirt's client crashes now and then, and with it the worker, where two
threads call on one connection and the node falls silent (CVE-2024-4418 is of the same place), so that a connection is
one thread's at a time. libvirtd reads no more of a client that has five calls open, not even that it lives; calls that
wait for QEMUs that hang stay open without end, and would cost the others their connection. And what is busy for
minutes, as an upload is, holds up nobody. So there are as many as threads call at once, nearly always one or two.
"""

import logging
import os
import threading
import time
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

log = logging.getLogger(__name__)

# To one node. Room for all that may hang at QEMUs (longcalls.py, readings.py, shutdowns.py), a task and the sweeps.
MOST_LINKS = 17
# More than one are kept for so long without use.
_IDLE_S = 60.0


class Connections:
    """Safe for threads. What a connection gives must not be used after the `with` that gave it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._nodes: dict[str, _Node] = {}
        _every.add(self)

    @contextmanager
    def at(self, node: NodeRef, what: str, vm: VmSpec | None = None) -> Iterator[libvirt.virConnect]:
        """A connection to the node that no other thread has, opened if need be. `what` is to be done with it, as
        "start the domain". Within another `at` of the same thread it is the same.

        Raises NodeUnreachable, NotSupported or Refused, also for each libvirtError raised within. The connection is
        dropped when it broke, and not for what the node refuses.
        """
        place = self._node(node)
        link = place.take(node, what, vm)
        try:
            with translated(node, what, vm, answers=link.is_alive):
                place.listen(link)
                yield link.connection
        finally:
            place.give_back(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        """Call back for each event of a domain's lifecycle, as long as there is a connection to the node.

        It opens none. One connection tells, and when it is dropped the next that is used; what happens between the
        two is not told. `callback` is called in the thread of the event loop: it must be quick and use no libvirt.
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
        # Held while a connection is opened: what the first of many finds holds for all.
        self._opening = threading.Lock()
        # Held for moments, so that no call waits for an attempt to connect in order to end. Of `_links`, and of what
        # each says of itself.
        self._changed = threading.Condition()
        self._links: list[Link] = []
        self._callbacks: list[OnEvent] = []
        self._reason = ""
        self._is_at("")

    def _is_at(self, uri: str) -> None:
        """Another address is another machine, as far as one knows."""
        self._uri = uri
        self._breaker = Breaker(self._options.first_backoff_s, self._options.longest_backoff_s)
        self._opener = Opener(self._options)

    def take(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link:
        give_up = time.monotonic() + self._options.connect_s
        while True:
            link = self._free(node)
            if link:
                return link
            with self._opening:
                link = self._free(node) or self._open(node, what, vm)
            if link:
                return link
            with self._changed:
                if not self._changed.wait_for(self._has_room, give_up - time.monotonic()):
                    raise NotAsked(
                        f"Node {node.name} is too busy to {what}: {MOST_LINKS} calls to it have not ended.", busy=True
                    )

    def give_back(self, link: Link) -> None:
        with self._changed:
            link.users -= 1
            if link.users:
                return
            link.used_at = time.monotonic()
            for place, idle in enumerate(tuple(self._links)):
                too_many = place > 0 and not idle.listens and link.used_at - idle.used_at > _IDLE_S
                if not idle.users and (too_many or not idle.is_alive()):
                    self._drop(idle)
            self._end_if_done(link)
            self._changed.notify_all()

    def listen(self, link: Link) -> None:
        """On this one, which the thread has, if somebody wants to hear, and none does."""
        if self._callbacks:
            self._listen(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        link = self._free(node)
        if link:
            try:
                with translated(node, "watch its domains", answers=link.is_alive):
                    self._listen(link)
            finally:
                self.give_back(link)
        self._callbacks.append(callback)

    def close(self) -> None:
        with self._opening, self._changed:
            self._callbacks.clear()
            for link in tuple(self._links):
                self._drop(link)

    def disown(self) -> None:
        for link in self._links:
            link.disown()

    def _free(self, node: NodeRef) -> Link | None:
        """One that lives and no other thread has, which is this thread's now."""
        me = threading.get_ident()
        with self._changed:
            for link in tuple(self._links):
                if link.uri != node.uri:
                    self._drop(link)
                elif link.users and link.holder != me:
                    continue
                elif not link.is_alive():
                    self._drop(link)
                else:
                    link.users += 1
                    link.holder = me
                    return link
        return None

    def _has_room(self) -> bool:
        return len(self._links) < MOST_LINKS or any(not link.users for link in self._links)

    def _open(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link | None:
        """One more, for this thread; None where there are as many as there may be."""
        if len(self._links) >= MOST_LINKS:
            return None
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
        link.users, link.holder = 1, threading.get_ident()
        with self._changed:
            self._links.append(link)
        return link

    def _listen(self, link: Link) -> None:
        with self._changed:
            if any(other.listens for other in self._links):
                return
            link.listens = True
        try:
            link.listen(self._callbacks)
        except libvirt.libvirtError:
            link.listens = False
            raise

    def _opened(self, node: NodeRef, what: str, vm: VmSpec | None) -> Link:
        try:
            with translated(node, what, vm, answers=_nobody):
                return self._opener.open(node.uri)
        except Silent as e:
            self._reason = str(e)
            advice = "Check that it is on and runs libvirt"
            raise NodeUnreachable(f"Node {node.name} cannot be reached to {what}: {e}. {advice}.") from e
        except NodeUnreachable as e:
            if isinstance(e.__cause__, libvirt.libvirtError):
                self._reason = text_of(e.__cause__, node)
            raise

    def _drop(self, link: Link) -> None:
        link.dropped = True
        self._links.remove(link)
        self._end_if_done(link)

    def _end_if_done(self, link: Link) -> None:
        """A call in another thread must not lose the connection under its feet."""
        if link.users or not link.dropped or link.ended:
            return
        try:
            threading.Thread(target=link.end, name="libvirt-close", daemon=True).start()
            link.ended = True
        except RuntimeError as e:
            log.warning("a connection is left open", extra={"reason": str(e)})


def _nobody() -> bool:
    return False


_every: "weakref.WeakSet[Connections]" = weakref.WeakSet()


def _disown_all() -> None:
    for connections in _every:
        connections._disown()


os.register_at_fork(after_in_child=_disown_all)
