"""Asking guests to shut down, of which some may not take the request.

Such a request stays open until the power is cut, which needs no answer of the guest's: it is left to a thread that has
a connection of its own. Few of a node may be open. Guests have it in their hands for how long their agents hold one, so
that beyond fewer yet they are asked by the power button, which is QEMU's to take.
"""

import logging
import threading
from concurrent.futures import Future

from vmbackends.base import NodeRef, VmSpec
from vmbackends.errors import NodeUnreachable, NotAsked
from vmbackends.libvirt import domains, threads
from vmbackends.libvirt.connections import Connections

log = logging.getLogger(__name__)

_WHAT = "shut it down"
# A guest that can be asked at all takes the request in moments.
_TAKES_A_REQUEST_S = 5.0
# Open ones of one node, until agents are not asked any more, and nobody.
MOST_BY_AGENT = 2
MOST = 6


class Shutdowns:
    """Safe for threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._open: dict[str, set[str]] = {}  # the VMs' ids, by the node's

    def ask(self, node: NodeRef, vm: VmSpec) -> None:
        """Returns soon, whether the guest takes it or not. Raises NodeUnreachable, NotSupported, Refused."""
        about = {"node": node.name, "vm": vm.id}
        with self._lock:
            others = self._open.setdefault(node.id, set())
            if vm.id in others or len(others) >= MOST:
                log.warning("a guest is not asked to shut down: earlier requests are not taken", extra=about)
                return
            by_agent = len(others) < MOST_BY_AGENT
            others.add(vm.id)
        asked: Future[None] = Future()
        try:
            threads.begin(node, "libvirt-shutdown", self._ask, node, vm, by_agent, asked)
        except NotAsked:
            self._has_ended(node, vm)
            raise
        try:
            asked.result(_TAKES_A_REQUEST_S)
        except TimeoutError as e:
            if asked.cancel():
                raise NodeUnreachable(f"Node {node.name} was too slow to {_WHAT} (VM {vm.name}).", busy=True) from e
            log.warning("a guest that is to shut down does not take the request", extra=about)

    def _ask(self, node: NodeRef, vm: VmSpec, by_agent: bool, asked: "Future[None]") -> None:
        failure: Exception | None = None
        try:
            with self._connections.at(node, _WHAT, vm) as connection:
                domain = domains.find(connection, vm)
                # A request that comes when nobody waits for it any more may meet a guest that was started anew.
                if domain and domains.is_active(domain) and asked.set_running_or_notify_cancel():
                    domains.shut_down(domain, by_agent)
        except Exception as e:  # noqa: BLE001  # raised again where it is waited for
            failure = e
        self._has_ended(node, vm)
        if asked.running() or (not asked.cancelled() and asked.set_running_or_notify_cancel()):
            if failure:
                asked.set_exception(failure)
            else:
                asked.set_result(None)

    def _has_ended(self, node: NodeRef, vm: VmSpec) -> None:
        with self._lock:
            self._open[node.id].discard(vm.id)
