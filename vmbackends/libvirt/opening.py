"""Opening a connection within a time, though libvirt knows none for it."""

import logging
import threading
import time
from concurrent.futures import Future
from urllib.parse import urlsplit

import libvirt

from vmbackends.libvirt import eventloop
from vmbackends.libvirt.options import Options
from vmbackends.libvirt.reach import Silent, sign_of_life

log = logging.getLogger(__name__)

# Attempts that hang do so in threads of their own, which cannot be ended; a node may have no more of them.
_MOST_HANGING = 3


class Opener:
    """One node's. Not thread-safe: one attempt at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._threads: list[threading.Thread] = []

    def open(self, uri: str) -> libvirt.virConnect:
        """A new connection with keepalive. Raises Silent or libvirtError within `connect_s`.

        libvirt waits for ever for the greeting of a daemon that hangs, so that it is called in a thread that may be
        left behind; a connection that it brings when nobody waits any more is closed.
        """
        eventloop.ensure()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= _MOST_HANGING:
            raise Silent("earlier attempts to connect hang still")
        result: Future[libvirt.virConnect] = Future()
        thread = threading.Thread(target=self._attempt, args=(uri, result), name="libvirt-open", daemon=True)
        thread.start()
        self._threads.append(thread)
        try:
            return result.result(self._options.connect_s)
        except TimeoutError as e:
            if result.cancel():
                raise Silent("it did not answer within the time") from e
            return result.result()  # it came in this moment

    def _attempt(self, uri: str, result: "Future[libvirt.virConnect]") -> None:
        connection, failure = None, None
        try:
            connection = self._connected(uri)
        except Exception as e:  # noqa: BLE001  # raised again where it is waited for
            failure = e
        if not result.set_running_or_notify_cancel():
            if connection is not None:
                connection.close()
        elif failure is not None:
            result.set_exception(failure)
        else:
            result.set_result(connection)

    def _connected(self, uri: str) -> libvirt.virConnect:
        options = self._options
        begun = time.monotonic()
        sign_of_life(uri, options.connect_s)
        left_s = options.connect_s - (time.monotonic() - begun)
        if left_s <= 0:
            raise Silent("it did not answer within the time")
        connection = libvirt.open(without_questions(uri))
        if urlsplit(uri).scheme != "test":  # which runs in this process
            connection.setKeepAlive(options.keepalive_s, options.keepalive_count)
        return connection


def without_questions(uri: str) -> str:
    """The URI, with ssh told not to ask a terminal for a password: https://libvirt.org/uri.html#ssh-transport"""
    parts = urlsplit(uri)
    if parts.scheme != "qemu+ssh" or "no_tty=" in parts.query:
        return uri
    return parts._replace(query=f"{parts.query}&no_tty=1".lstrip("&")).geturl()
