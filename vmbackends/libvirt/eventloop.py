"""The thread that runs libvirt's event loop: without it no keepalive is sent and no event comes."""

import logging
import os
import threading
import time

import libvirt

log = logging.getLogger(__name__)

_lock = threading.Lock()
_pid: int | None = None


def ensure() -> None:
    """Start the loop, once a process. It must run before the first connection is opened.

    Raises RuntimeError in a process that was forked from one in which it ran: the loop's thread is not in the child,
    and its connections would be shared with the parent.
    """
    global _pid
    with _lock:
        if _pid is None:
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
            _pid = os.getpid()
        elif _pid != os.getpid():
            raise RuntimeError("libvirt was in use before this process was forked; start a process of its own for it")


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            log.exception("libvirt's event loop failed; running it again")
            time.sleep(1)
