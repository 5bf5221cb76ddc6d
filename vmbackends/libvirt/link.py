"""One open connection to a node, and what is known of it without asking the node."""

import contextlib
import logging
import threading
from collections.abc import Callable

import libvirt

log = logging.getLogger(__name__)

# The name of the domain, and libvirt's numbers of what befell it and why:
# https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainEventType
OnEvent = Callable[[str, int, int], None]


class Link:
    """`users` (how many calls within each other), `holder` (the thread whose they are), `used_at`, `listens`, `dropped`
    and `ended` belong to whoever shares it between threads. No two may use `connection` at once, nor end it."""

    def __init__(self, connection: libvirt.virConnect, uri: str) -> None:
        self.connection = connection
        self.uri = uri
        self.users = 0
        self.holder = 0
        self.used_at = 0.0
        self.listens = False
        self.dropped = False
        self.ended = False
        self._closed = threading.Event()
        self._subscription: int | None = None
        connection.registerCloseCallback(_on_close, self._closed)

    def is_alive(self) -> bool:
        """Whether the socket is open, as this process knows it. Reaches no node."""
        if self._closed.is_set():
            return False
        try:
            return bool(self.connection.isAlive())
        except libvirt.libvirtError:
            return False

    def listen(self, callbacks: list[OnEvent]) -> None:
        """Call these, and what is added to them later, for each event of a domain's lifecycle."""
        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._subscription = self.connection.domainEventRegisterAny(None, kind, _on_event, callbacks)

    def end(self) -> None:
        """Close it. A node that hangs lets go when its keepalive is over.

        Each step may ask the node, and fails where the connection is broken; then nothing is left of what it ends.
        """
        if self._subscription is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.domainEventDeregisterAny(self._subscription)
        # Without this libvirt keeps the connection for the sake of the callback.
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.close()

    def disown(self) -> None:
        """Forget it unclosed, in a forked child: the socket is the parent's, and closing would speak on it."""
        self.connection._o = None


def _on_close(_connection: libvirt.virConnect, reason: int, closed: threading.Event) -> None:
    log.info("a connection to a node was closed", extra={"reason": reason})
    closed.set()


def _on_event(
    _connection: object, domain: libvirt.virDomain, event: int, detail: int, callbacks: list[OnEvent]
) -> None:
    for callback in tuple(callbacks):
        try:
            callback(domain.name(), event, detail)
        except Exception:
            log.exception("a callback for a domain's event failed")
