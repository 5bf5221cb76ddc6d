"""One connection to each node that a process works with, kept as long as it lives."""

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import libvirt

from vmbackends.base import NodeRef, VmSpec
from vmbackends.errors import NodeUnreachable
from vmbackends.libvirt.breaker import Breaker
from vmbackends.libvirt.errors import text_of, translated
from vmbackends.libvirt.opening import Opener
from vmbackends.libvirt.options import Options
from vmbackends.libvirt.reach import Silent

log = logging.getLogger(__name__)

# The name of the domain, and libvirt's numbers of what befell it and why:
# https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainEventType
OnEvent = Callable[[str, int, int], None]


class Connections:
    """Safe for threads. What a connection gives must not be kept beyond the `with` that gave it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._nodes: dict[str, _Node] = {}
        _all.add(self)

    @contextmanager
    def at(self, node: NodeRef, what: str, vm: VmSpec | None = None) -> Iterator[libvirt.virConnect]:
        """The node's connection, opened if need be. `what` is to be done with it, as "start the domain".

        Raises NodeUnreachable, NotSupported or Refused, also for each libvirtError raised within. The connection is
        dropped when it broke, and not for what the node refuses.
        """
        place = self._node(node)
        link = place.take(node, what)
        try:
            with translated(node, what, vm, answers=link.is_alive):
                yield link.connection
        finally:
            place.give_back(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        """Call back for each event of a domain's lifecycle, as long as there is a connection to the node.

        It opens none, and is asked again of each new one; what happens between two of them is not told. `callback`
        is called in the thread of the event loop: it must be quick and use no libvirt.
        """
        self._node(node).subscribe(node, callback)

    def close(self) -> None:
        """Let go of all connections, each when nobody uses it any more."""
        with self._lock:
            nodes, self._nodes = self._nodes, {}
        for place in nodes.values():
            place.close()

    def _node(self, node: NodeRef) -> "_Node":
        with self._lock:
            return self._nodes.setdefault(node.id, _Node(self._options))

    def _disown(self) -> None:
        """In a forked child: the sockets are the parent's, and to close a connection would speak on them."""
        for place in self._nodes.values():
            place.disown()
        self._nodes = {}
        self._lock = threading.Lock()


class _Link:
    """A connection, and how many use it."""

    def __init__(self, connection: libvirt.virConnect, uri: str) -> None:
        self.connection = connection
        self.uri = uri
        self.users = 0
        self.dropped = False
        self._closed = threading.Event()
        self._subscriptions: list[int] = []
        connection.registerCloseCallback(_on_close, self._closed)

    def is_alive(self) -> bool:
        """Whether the socket is open, as this process knows it. Reaches no node."""
        if self._closed.is_set():
            return False
        try:
            return bool(self.connection.isAlive())
        except libvirt.libvirtError:
            return False

    def subscribe(self, callback: OnEvent) -> None:
        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._subscriptions.append(self.connection.domainEventRegisterAny(None, kind, _on_event, callback))

    def end(self) -> None:
        """Close it. Each step may ask the node, and fails where the connection is broken: then it is done anyway."""
        for number in self._subscriptions:
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.domainEventDeregisterAny(number)
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.close()


class _Node:
    """What is kept of one node. Its lock is held while a connection is opened, so that two threads open one."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._opening = threading.Lock()
        self._changing = threading.Lock()
        self._link: _Link | None = None
        self._callbacks: list[OnEvent] = []
        self._uri = ""
        self._breaker = Breaker(options.first_backoff_s, options.longest_backoff_s)
        self._opener = Opener(options)
        self._reason = ""

    def take(self, node: NodeRef, what: str) -> _Link:
        with self._opening:
            link = self._living(node)
            if link is None:
                link = self._open(node, what)
            with self._changing:
                link.users += 1
            return link

    def give_back(self, link: _Link) -> None:
        with self._changing:
            link.users -= 1
        if not link.is_alive():
            self._drop(link)
        elif link.dropped:
            self._end_if_unused(link)

    def subscribe(self, node: NodeRef, callback: OnEvent) -> None:
        with self._opening:
            self._callbacks.append(callback)
            link = self._living(node)
            if link:
                with translated(node, "watch its domains", answers=link.is_alive):
                    link.subscribe(callback)

    def close(self) -> None:
        with self._opening:
            self._callbacks = []
            if self._link:
                self._drop(self._link)

    def disown(self) -> None:
        if self._link:
            self._link.connection._o = None

    def _living(self, node: NodeRef) -> _Link | None:
        link = self._link
        if link and (link.uri != node.uri or not link.is_alive()):
            self._drop(link)
            return None
        return link

    def _open(self, node: NodeRef, what: str) -> _Link:
        if self._uri != node.uri:
            # Another address is another machine, as far as one knows.
            self._uri = node.uri
            self._breaker = Breaker(self._options.first_backoff_s, self._options.longest_backoff_s)
            self._opener = Opener(self._options)
        wait_s = self._breaker.admit()
        if wait_s:
            raise NodeUnreachable(
                f"Node {node.name} cannot be reached to {what}: {self._reason}. "
                f"It is not asked again for {max(wait_s, 1):.0f} s."
            )
        try:
            link = self._opened(node, what)
        except NodeUnreachable:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        self._link = link
        return link

    def _opened(self, node: NodeRef, what: str) -> _Link:
        try:
            with translated(node, what, answers=_never):
                link = _Link(self._opener.open(node.uri), node.uri)
                for callback in self._callbacks:
                    link.subscribe(callback)
                return link
        except Silent as e:
            self._reason = str(e)
            raise NodeUnreachable(
                f"Node {node.name} cannot be reached to {what}: {e}. Check that it is on and runs libvirt."
            ) from e
        except NodeUnreachable as e:
            self._reason = text_of(e.__cause__, node)
            raise

    def _drop(self, link: _Link) -> None:
        with self._changing:
            link.dropped = True
            if self._link is link:
                self._link = None
        self._end_if_unused(link)

    def _end_if_unused(self, link: _Link) -> None:
        """A call in another thread must not lose the connection under its feet."""
        with self._changing:
            if link.users or not link.dropped:
                return
            link.dropped = False
        # In a thread, for a node that hangs lets go no sooner than its keepalive is over.
        threading.Thread(target=link.end, name="libvirt-close", daemon=True).start()


def _never() -> bool:
    return False


def _on_close(_connection: libvirt.virConnect, reason: int, closed: threading.Event) -> None:
    log.info("a node's connection was closed", extra={"reason": reason})
    closed.set()


def _on_event(_connection: object, domain: libvirt.virDomain, event: int, detail: int, callback: OnEvent) -> None:
    try:
        callback(domain.name(), event, detail)
    except Exception:
        log.exception("a callback for a domain's event failed")


_all: "weakref.WeakSet[Connections]" = weakref.WeakSet()


def _disown_all() -> None:
    for connections in _all:
        connections._disown()


os.register_at_fork(after_in_child=_disown_all)
