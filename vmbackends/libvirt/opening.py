"""Opening a connection within a time, though libvirt knows none for it."""

import threading
from concurrent.futures import Future
from urllib.parse import urlsplit

import libvirt

from vmbackends.libvirt import eventloop
from vmbackends.libvirt.link import Link
from vmbackends.libvirt.options import Options
from vmbackends.libvirt.reach import Silent, sign_of_life

# Attempts that hang do so in threads of their own, which cannot be ended; a node may have no more of them.
MOST_HANGING = 3


class Opener:
    """One node's. Not safe for threads: one attempt at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._threads: list[threading.Thread] = []

    def open(self, uri: str) -> Link:
        """A new connection with keepalive. Raises Silent or libvirtError within `connect_s`.

        libvirt waits for ever for the greeting of a daemon that hangs, so that it is called in a thread that may be
        left behind; a connection that it brings when nobody waits any more is closed.
        """
        if not uri:
            # libvirt would take it for "whatever hypervisor this machine has".
            raise Silent("it has no URI")
        eventloop.ensure()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MOST_HANGING:
            raise Silent("earlier attempts to connect hang still")
        result: Future[Link] = Future()
        thread = threading.Thread(target=self._attempt, args=(uri, result), name="libvirt-open", daemon=True)
        try:
            thread.start()
        except RuntimeError as e:
            raise Silent(f"{e} on the worker's machine") from e
        self._threads.append(thread)
        try:
            return result.result(self._options.connect_s)
        except TimeoutError as e:
            if result.cancel():
                raise Silent("it did not answer within the time") from e
            return result.result()  # it came in this moment

    def _attempt(self, uri: str, result: "Future[Link]") -> None:
        link, failure = None, None
        try:
            sign_of_life(uri, self._options.connect_s)
            if result.cancelled():
                return
            link = self._opened(uri)
        except Exception as e:  # noqa: BLE001  # raised again where it is waited for
            failure = e
        waited_for = result.set_running_or_notify_cancel()
        if link and not waited_for:
            link.end()
        if waited_for and failure:
            result.set_exception(failure)
        elif waited_for and link:
            result.set_result(link)

    def _opened(self, uri: str) -> Link:
        connection = libvirt.open(without_questions(uri))
        if urlsplit(uri).scheme != "test":  # which runs in this process
            connection.setKeepAlive(self._options.keepalive_s, self._options.keepalive_count)
        return Link(connection, uri)


def without_questions(uri: str) -> str:
    """The URI, with ssh told not to ask a terminal for a password: https://libvirt.org/uri.html#ssh-transport"""
    parts = urlsplit(uri)
    if parts.scheme != "qemu+ssh" or "no_tty=" in parts.query:
        return uri
    return parts._replace(query=f"{parts.query}&no_tty=1".lstrip("&")).geturl()
